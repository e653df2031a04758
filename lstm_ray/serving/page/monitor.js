// The live monitor: alarms, load, drift, anomalies and error, asked for every few seconds while anybody looks. Knows GET /v1/monitor.
import { curves, legend, spark } from './chart.js'
import { $, get, make, number, percent } from './server.js'

const SECONDS = 3, KEPT = 60, ASKED = ['/v1/forecast', '/v1/classify', '/v1/label', '/v1/what-if', '/v1/plan'], SHOWN = 15
const KINDS = { drift: 'Drift', prediction: 'Forecasts drift', joint: 'Inputs together', performance: 'Error', change: 'Error changed', anomalies: 'Anomalies', latency: 'Slow', errors: 'Failures', saturation: 'Full', fallbacks: 'Fallback' }
const WHY = { jump: 'far from what the values before it let expect', repeats: 'the same for too long', residual: 'far from its forecast' }
const MEASURES = { ratio: 'error over that of validation', error: 'live error', coverage: 'coverage of the intervals', drift_over_limit: 'worst drift over its limit', anomalies_share: 'share of anomalies', requests_per_second: 'requests a second', p99_ms: 'p99 latency, ms', alarms: 'alarms' }
const series = { answered: [], p50: [], p99: [], error: [] }
let before = null, timer = null, asking = false, latest = null

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
  const mae = p.metric === 'mae', metric = mae ? 'MAE' : p.metric, worse = /worse/.test(p.state), load = m.load || {}
  const error = v => mae || v == null ? number(v) : percent(v), held = p.coverage == null ? '' : ` ${percent(p.coverage)} of what came lay inside the intervals, which are to hold ${percent(p.nominal_coverage)}.`
  alarms(m.alarms || [], m.alarms_before || [])
  $('load').replaceChildren(
    tile('Predictions asked for', answered.toLocaleString('en'), `${number(series.answered.at(-1) ?? 0)} a second now`, spark(series.answered, 'predictions a second, the last minutes')),
    tile('Latency, median', latency.p50 == null ? '–' : `${number(latency.p50)} ms`, latency.p99 == null ? '' : `p95 ${number(latency.p95)} ms, p99 ${number(latency.p99)} ms`, spark(series.p50, 'median latency, the last minutes')),
    tile('In flight', load.capacity ? `${load.most} of ${load.capacity}` : '–', load.capacity ? `${load.queued} wait; ${load.replicas} replica${load.replicas === 1 ? '' : 's'}` : 'no replica tells its load', null, load.saturation >= 0.9 ? 'bad' : ''),
    tile('Refused', requests.refused.toLocaleString('en'), `${requests.errors} failed, of ${requests.total.toLocaleString('en')} requests of any kind${m.fallbacks ? `; ${m.fallbacks} fallbacks` : ''}`, null, requests.errors || m.fallbacks ? 'bad' : ''),
    tile(`Live ${metric}`, error(p.rolling), p.rolling_over ? `over ${p.rolling_over} values; ${error(p.validation)} on validation` : `${error(p.validation)} on validation`, p.rolling_over ? spark(series.error, `live ${metric}, the last minutes`) : null, worse ? 'bad' : ''))
  beside(m, error)
  const truth = p.waiting ? ` ${p.waiting.toLocaleString('en')} predicted values wait for their truth (POST /v1/observations).` : ''
  $('health').textContent = `Error: ${p.state}.${p.ratio == null ? '' : ` It is ${number(p.ratio)} times that of validation for these steps ahead.`}${held}${truth}`
  $('health').className = worse ? 'caption bad' : 'caption'
  latest = m
  course()
  $('drift').textContent = `Inputs: ${inputs.state}. ${inputs.series.toLocaleString('en')} series were read, ${inputs.series_with_warnings} with warnings; what is tried on this page is not counted.${inputs.lacks && inputs.columns.length ? ` Note: ${inputs.lacks}.` : ''}`
  const rows = [...inputs.columns, ...(m.predictions || []).map(c => ({ ...c, column: `forecast of ${c.column}` }))].map(c => make('tr', {}, make('td', {}, c.column), make('td', { class: c.state.includes('shift') ? 'bad' : '' }, c.state), make('td', {}, meter(c.over_limit)),
    ...[number(c.psi), number(c.ks), number(c.wasserstein_deviations), number(c.mean), number(c.training_mean), percent(c.missing_share || 0)].map(text => make('td', { class: 'number' }, text))))
  $('columns').replaceChildren(...rows)
  $('drifting').hidden = !rows.length
  unusual(m.anomalies)
}

function ago(seconds) {
  for (const [size, word] of [[86400, 'day'], [3600, 'hour'], [60, 'minute']]) if (seconds >= size) return `${Math.floor(seconds / size)} ${word}${seconds >= 2 * size ? 's' : ''}`
  return `${Math.round(seconds)} s`
}

const sentence = text => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

// What is spoken changes only when an alarm begins or ends, not with every look.
function alarms(found, lost) {
  const key = found.map(a => `${a.kind} ${a.what}`).join('\n'), host = $('alarms')
  const since = a => `for ${ago(a.since_seconds)}`
  if (host.dataset.key === key && host.firstChild) {
    host.querySelectorAll('li').forEach((li, i) => { li.querySelector('span').textContent = sentence(found[i].text); li.querySelector('small').textContent = since(found[i]) })
    return
  }
  host.dataset.key = key
  host.replaceChildren(found.length
    ? make('ul', { 'aria-label': 'Alarms' }, found.map(a => make('li', {}, make('b', {}, KINDS[a.kind] || a.kind), make('span', {}, sentence(a.text)), make('small', { 'aria-live': 'off' }, since(a)))))
    : make('p', {}, `No alarm stands.${lost.length ? ` The server began anew and has lost what it had measured; before, there stood: ${lost.map(a => a.text).join('; ')}.` : ''}`))
}

// Half of the way is the limit.
function meter(share) {
  if (share == null) return '–'
  const inside = make('span', { class: `fill ${share >= 1 ? 'over' : 'forecast'}` })
  inside.style.width = `${Math.min(100, 50 * share)}%`
  return make('div', { class: 'meter' }, make('span', { class: 'track', 'aria-hidden': 'true' }, inside), make('span', {}, share.toFixed(2)))
}

// A few numbers over all of the time that the policy is watched, which the server keeps.
function course() {
  const points = latest?.history || [], there = Object.keys(MEASURES).filter(key => points.some(p => p[key] != null)), choice = $('measure')
  $('course').hidden = points.length < 2 || !there.length
  if ($('course').hidden) return
  if ([...choice.options].map(o => o.value).join() !== there.join()) {
    const kept = choice.value
    choice.replaceChildren(...there.map(key => make('option', { value: key }, MEASURES[key])))
    if (there.includes(kept)) choice.value = kept
  }
  const key = choice.value, now = Date.now(), p = latest.performance
  const limit = { ratio: p.limit, coverage: p.nominal_coverage, error: p.validation, drift_over_limit: 1, anomalies_share: latest.anomalies?.rate }[key]
  const word = { ratio: 'limit', coverage: 'nominal', error: 'validation', drift_over_limit: 'limit', anomalies_share: 'stated rate' }[key]
  const times = points.map(point => new Date(now - 1e3 * (latest.seconds - point.seconds)).toISOString())
  const tracks = [{ name: MEASURES[key], kind: 'forecast', values: points.map(point => point[key] ?? null) }]
  if (limit != null) tracks.push({ name: word, kind: 'changed', values: points.map(() => limit) })
  $('course-legend').replaceChildren(legend(tracks.map(t => [t.kind, t.name])))
  curves($('course-chart'), { label: `${MEASURES[key]} over the ${ago(latest.seconds)} that the policy is watched`, times, tracks, height: 200 })
}

function unusual(a) {
  if (!a) return
  $('anomalies-said').textContent = `Anomalies: ${a.state}. Of usual values at most ${percent(a.rate)} are called so.`
  $('unusual').hidden = !a.newest.length
  const rare = p => p >= 0.001 ? percent(p) : `1 in ${Math.round(1 / p).toLocaleString('en')}`
  $('newest').replaceChildren(...a.newest.slice(0, SHOWN).map(one => make('tr', {}, make('td', {}, String(one.time)), make('td', {}, one.series), make('td', {}, one.column),
    make('td', {}, WHY[one.measure] + (one.expected == null ? '' : `, ${number(one.expected)}`)), make('td', { class: 'number' }, number(one.value)), make('td', { class: 'number' }, rare(one.p)))))
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
  $('measure').onchange = course
  timer = setInterval(() => document.hidden || look(), SECONDS * 1e3)
  document.addEventListener('visibilitychange', () => document.hidden || look())
  return look()
}
