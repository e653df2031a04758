// Light or dark: the system's choice until the button is used. Runs before the body is read, so that nothing flashes.
'use strict'
{
  const root = document.documentElement, key = 'lstm-ray-theme', system = matchMedia('(prefers-color-scheme: dark)')
  try { root.dataset.theme = localStorage.getItem(key) || '' } catch { /* private mode */ }
  addEventListener('DOMContentLoaded', () => document.getElementById('theme').addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : system.matches
    root.dataset.theme = dark ? 'light' : 'dark'
    try { localStorage.setItem(key, root.dataset.theme) } catch { /* private mode */ }
  }))
}
