// The live monitor: load, latency, drift and error, asked for every few seconds while anybody looks. Knows GET /v1/monitor.
import { spark } from './chart.js'
import { $, get, make, number, percent } from './server.js'

const SECONDS = 3, KEPT = 60, ASKED = ['/v1/forecast', '/v1/classify', '/v1/label', '/v1/what-if', '/v1/plan']
const series = { answered: [], p50: [], p99: [], error: [] }
let before = null, timer = null, asking = false

function keep(name, value) { series[name].push(value ?? null); if (series[name].length > KEPT) series[name].shift() }

const asked = by => ASKED.reduce((sum, route) => sum + (by[route] || 0), 0)
function tile(name, value, note = '', drawn = null, tone = '') {
  return make('div', {}, make('dt', {}, name), make('dd', { class: 'value' }, value), note && make('dd', { class: `note ${tone}` }, note), drawn && make('dd', {}, drawn))
}

function show(m) {
  const { requests, latency_ms: latency, performance: p, inputs } = m, by = requests.by_route || {}
  const answered = asked(by), now = performance.now()
  if (before) keep('answered', Math.max(0, (answered - before.answered) / (now - before.now) * 1e3))
  before = { answered, now }
  keep('p50', latency.p50); keep('p99', latency.p99); keep('error', p.rolling)
  const mae = p.metric === 'mae', metric = mae ? 'MAE' : p.metric, worse = /worse/.test(p.state)
  const error = v => mae || v == null ? number(v) : percent(v)
  $('load').replaceChildren(
    tile('Predictions asked for', answered.toLocaleString('en'), `${number(series.answered.at(-1) ?? 0)} a second now`, spark(series.answered, 'predictions a second, the last minutes')),
    tile('Latency, median', latency.p50 == null ? '–' : `${number(latency.p50)} ms`, latency.p99 == null ? '' : `p95 ${number(latency.p95)} ms, p99 ${number(latency.p99)} ms`, spark(series.p50, 'median latency, the last minutes')),
    tile('Refused', requests.refused.toLocaleString('en'), `${requests.errors} failed, of ${requests.total.toLocaleString('en')} requests of any kind`, null, requests.errors ? 'bad' : ''),
    tile(`Live ${metric}`, error(p.rolling), p.rolling_over ? `over ${p.rolling_over} values; ${error(p.validation)} on validation` : `${error(p.validation)} on validation`, p.rolling_over ? spark(series.error, `live ${metric}, the last minutes`) : null, worse ? 'bad' : ''))
  beside(m, error)
  const truth = p.waiting ? ` ${p.waiting.toLocaleString('en')} predicted values wait for their truth (POST /v1/observations).` : ''
  $('health').textContent = `Error: ${p.state}.${truth}`
  $('health').className = worse ? 'caption bad' : 'caption'
  $('drift').textContent = `Inputs: ${inputs.state}. ${inputs.series.toLocaleString('en')} series were read, ${inputs.series_with_warnings} with warnings; what is tried on this page is not counted.`
  const rows = inputs.columns.map(c => make('tr', {}, make('td', {}, c.column), make('td', { class: c.state.includes('shift') ? 'bad' : '' }, c.state),
    ...[number(c.psi), number(c.mean), number(c.training_mean), percent(c.missing_share || 0)].map(text => make('td', { class: 'number' }, text))))
  $('columns').replaceChildren(...rows)
  $('drifting').hidden = !rows.length
}

// The policies beside the champion: a canary answers a share of what is asked, a shadow gets copies and answers nobody.
function beside(m, error) {
  const others = [m.canary && [`canary, ${percent(m.canary.share)}`, m.canary], m.shadow && ['shadow', m.shadow]].filter(Boolean)
  $('beside').hidden = !others.length
  if (!others.length) return
  const row = ([role, of]) => make('tr', {}, make('td', {}, role), make('td', {}, make('code', {}, String(of.policy).slice(0, 12))),
    ...[asked(of.requests?.by_route || {}).toLocaleString('en'), number(of.latency_ms?.p50), number(of.latency_ms?.p99), number(of.requests?.errors), error(of.performance?.rolling)].map(text => make('td', { class: 'number' }, text)))
  $('lineup').replaceChildren(...[['champion', m], ...others].map(row))
  const c = m.shadow?.compared
  $('compared').textContent = !c ? '' : [`Of ${c.requests} copies the shadow failed ${c.failed}${c.dropped ? `, and ${c.dropped} more were not sent` : ''}.`,
    c.mean_difference_deviations != null && `Its answers lie ${number(c.mean_difference_deviations)} training deviations from the champion’s.`,
    c.share_same_class != null && `${percent(c.share_same_class)} of its classes are the champion’s.`,
    c.mean_ms != null && `It takes ${number(c.mean_ms)} ms where the champion takes ${number(c.champion_mean_ms)}.`].filter(Boolean).join(' ')
}

export async function look() {
  if (asking) return
  asking = true
  try { show(await get('v1/monitor')); $('stale').textContent = '' }
  catch (error) { $('stale').textContent = `Not up to date: ${error.message}` }
  finally { asking = false }
}
export function watch() {
  clearInterval(timer)
  timer = setInterval(() => document.hidden || look(), SECONDS * 1e3)
  document.addEventListener('visibilitychange', () => document.hidden || look())
  return look()
}
