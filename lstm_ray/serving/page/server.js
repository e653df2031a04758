// Talking to the server, and making elements. Addresses are relative, so that a server below a path prefix works as well.
// Words from outside only ever become text nodes: nothing here or elsewhere on the page parses HTML.

export const $ = id => document.getElementById(id)

function built(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...children.flat(Infinity).filter(child => child != null && child !== false))
  return element
}
export const make = (kind, attributes = {}, ...children) => built(document.createElement(kind), attributes, children)
export const draw = (kind, attributes = {}, ...children) => built(document.createElementNS('http://www.w3.org/2000/svg', kind), attributes, children)

export function number(value) {
  if (value == null || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size && (size >= 1e7 || size < 1e-4)) return value.toExponential(2).replace('-', '−')
  const places = Math.max(0, 3 - Math.floor(Math.log10(size || 1)))
  const text = size >= 1e4 ? Math.round(value).toLocaleString('en') : String(+value.toFixed(Math.min(places, 6)))
  return text.replace('-', '−')
}
export const signed = value => (value > 0 ? '+' : '') + number(value)
export const percent = share => `${(100 * share).toFixed(1).replace('-', '−')} %`

// The token lives as long as the tab, under the page's own path, and never in an address.
const KEY = `lstm-ray-token ${new URL('.', location).pathname}`
export function token() { try { return sessionStorage.getItem(KEY) || '' } catch { return token.kept || '' } }
export function keepToken(text) { token.kept = text; try { sessionStorage.setItem(KEY, text) } catch { /* kept for this page alone */ } }

export class Refusal extends Error {
  constructor(status, words) { super(words); this.status = status }
}
const told = item => [(item.loc || []).slice(item.loc?.[0] === 'body' ? 1 : 0).join(' › '), item.msg].filter(Boolean).join(': ')

async function answer(path, options) {
  let found
  try { found = await fetch(path, options) } catch (error) {
    throw error.name === 'AbortError' ? error : new Refusal(0, 'The server does not answer. Is it running?')
  }
  if (found.ok) return found
  const body = await found.json().catch(() => ({})), wait = found.headers.get('retry-after')
  const words = Array.isArray(body.detail) ? body.detail.map(told).join('\n') : `The server answered ${found.status}${wait ? `; try again in ${wait} s` : ''}.`
  throw new Refusal(found.status, words)
}
export async function get(path, as = 'json') {
  const key = token()
  return (await answer(path, { headers: key ? { authorization: `Bearer ${key}` } : {} }))[as]()
}
export async function post(path, body, signal) {
  const key = token(), headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) }
  return (await answer(path, { method: 'POST', headers, body: JSON.stringify(body), signal })).json()
}
export function save(name, text) {
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/csv' })), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
