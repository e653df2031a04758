// An answer drawn and told: what was sent, what is forecast, and what a change does to it. Knows the bodies of the routes.
import { bars, curves, legend, strip, timeWords } from './chart.js'
import { $, make, number, percent, signed } from './server.js'
import { changed as changedInput } from './sliders.js'

const MANY = 4, SMALL = 12
const mean = values => values.reduce((sum, v) => sum + v, 0) / values.length
const numbers = list => Array.isArray(list) ? list.map(v => typeof v === 'number' ? v : null) : []
const levels = answer => Object.keys(answer.quantiles).sort((a, b) => a - b)
const later = (steps, values) => [...Array(steps).fill(null), ...values]

// Pairs of quantiles that lie as far below the median as above it, the widest first.
function fan(answer) {
  const own = levels(answer)
  return own.slice(0, Math.floor(own.length / 2)).map((low, at) => [low, own.at(-1 - at)])
    .map(([low, high]) => ({ level: `${Math.round(100 * (high - low))} %`, name: `${Math.round(100 * (high - low))} % interval`, low: answer.quantiles[low], high: answer.quantiles[high] }))
}
const other = scenario => (scenario.forecasts || scenario.classifications || scenario.labellings)[0]

/* `view`: { policy, series, came, base, scenario (null where nothing was changed), words of the change } */
export function show(view) {
  ({ forecast: showForecast, classify: showClasses, label: showLabels })[view.policy.task](view)
  showInputs(view)
  const { head, rows } = table(view)
  $('table').replaceChildren(make('thead', {}, make('tr', {}, head.map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, rows.map(row => make('tr', {}, row.map(v => make('td', { class: typeof v === 'number' && 'number' }, typeof v === 'number' ? number(v) : v ?? ''))))))
  $('warnings').replaceChildren(...view.base.warnings.map(words => make('li', {}, words)))
}
const hosts = (place, number, kind = 'chart') => {
  while (place.children.length > number) place.lastChild.remove()
  while (place.children.length < number) place.append(make('figure', {}, make('figcaption', {}), make('div', { class: kind })))
  return [...place.children].map(figure => [figure.firstChild, figure.lastChild])
}
const height = () => innerWidth < 800 ? 220 : 340

function showForecast({ policy, series, came, base, scenario }) {
  const all = policy.schema.target, picked = $('target').value, targets = picked ? [picked] : all.slice(0, MANY), edges = numbersOf(series)
  const kept = $('shown').value === 'all' ? edges : Math.min(edges, Math.max(3 * policy.horizon, 48)), times = [...(series.times || []).slice(edges - kept), ...base.times]
  hosts($('charts'), targets.length).forEach(([caption, host], at) => {
    const target = targets[at], answer = base.targets[target], then = scenario?.forecasts[0].targets[target], seen = numbers(series.columns?.[target]).slice(edges - kept)
    const joined = values => later(kept - 1, [seen.at(-1) ?? null, ...values]), spread = fan(answer), extent = part => later(kept, part)
    const arrived = came[target]?.some(v => v != null) ? later(kept, numbers(came[target])) : null
    const tracks = [
      { name: target, kind: 'history', values: [...seen, ...Array(base.times.length).fill(null)] },
      { name: 'forecast', kind: 'forecast', values: joined(answer.median), from: kept },
      then && { name: 'what if', kind: 'changed', values: joined(then.median), from: kept },
      arrived && { name: 'what came', kind: 'came', values: [...arrived, ...Array(times.length - arrived.length).fill(null)] },
    ].filter(Boolean)
    const bands = spread.map(b => ({ name: b.name, low: extent(b.low), high: extent(b.high) }))
    if (then && spread.length) bands.push({ ...fan(then)[0], name: `what if, ${spread[0].name}`, kind: 'changed', low: extent(fan(then)[0].low), high: extent(fan(then)[0].high) })
    caption.textContent = target
    curves(host, { label: `History and forecast of ${target}`, times, edge: kept - 1, bands, tracks, height: targets.length > 1 ? Math.round(height() * 0.75) : height() })
  })
  const wide = fan(base.targets[targets[0]])
  const here = Object.values(came).some(list => list.some(v => v != null))
  $('legend').replaceChildren(legend([['history', 'history'], ['forecast', 'forecast'], ...(wide.length ? [['band', `${wide.map(b => b.level).reverse().join(' and ')} interval`]] : []), ...(scenario ? [['changed', 'what if']] : []), ...(here ? [['came', 'what came']] : [])]))
}
function numbersOf(series) { return series.times?.length || 0 }

function showClasses({ base, scenario }) {
  const [[caption, host]] = hosts($('charts'), 1), then = scenario?.classifications[0].probabilities
  caption.textContent = `${base.label}, with a probability of ${percent(base.probabilities[base.label])}`
  bars(host, Object.entries(base.probabilities).map(([name, share]) => [name, share, then?.[name], name === base.label]), 'what if')
  $('legend').replaceChildren(scenario ? legend([['forecast', 'as sent'], ['changed', 'what if']]) : '')
}

function showLabels({ policy, base, scenario, came }) {
  const then = scenario?.labellings[0], { classes } = policy, truth = came[policy.schema.label], label = policy.schema.label || 'label', places = hosts($('charts'), classes.length ? 2 : 1)
  const track = (name, values, kind) => ({ name, values, kind })
  if (!classes.length) {
    places[0][0].textContent = label
    curves(places[0][1], { label: `${label} of each step`, times: base.times, height: height(), tracks: [track('told', base.labels, 'forecast'), then && track('what if', then.labels, 'changed'), truth && track('true', numbers(truth), 'came')].filter(Boolean) })
    $('legend').replaceChildren(legend([['forecast', 'told of each step'], ...(then ? [['changed', 'what if']] : []), ...(truth ? [['came', 'true, as in the file']] : [])]))
    return
  }
  places[0][0].textContent = `${label}: the most probable class of each step`
  strip(places[0][1], [['as sent', base.labels], ...(then ? [['what if', then.labels]] : []), ...(truth ? [['true', truth]] : [])], classes, base.times)
  places[1][0].textContent = 'Probability of each class'
  const lines = answer => Object.entries(answer.probabilities).slice(0, 7).map(([name, values], at) => track(name, values, `line-${classes.indexOf(name) % 7 + 1}`))
  curves(places[1][1], { label: 'Probability of each class', times: base.times, range: [0, 1], height: height() * 0.7, tracks: [...lines(base), ...(then ? lines(then).map(t => ({ ...t, name: `${t.name} what if`, kind: `${t.kind} dashed` })) : [])] })
  $('legend').replaceChildren(legend([...classes.slice(0, 7).map((name, at) => [`line-${at + 1}`, name]), ...(then ? [['dashed-key', 'what if, dashed']] : [])]))
}

// Inputs as sent; those known ahead over the horizon as well.
function showInputs({ policy, series, base }) {
  const names = [...policy.schema.past, ...policy.schema.known].filter(name => Array.isArray(series.columns?.[name])), place = $('inputs')
  $('inputs-part').hidden = !names.length
  if (!$('inputs-part').open || !names.length) return
  const ahead = base.times && policy.task === 'forecast' ? base.times : []
  hosts(place, Math.min(SMALL, names.length)).forEach(([caption, host], at) => {
    const name = names[at], history = numbers(series.columns[name]), future = numbers(series.future?.[name]).slice(0, ahead.length), times = [...(series.times || []), ...(future.length ? ahead : [])]
    const to = values => [...values, ...Array(Math.max(0, times.length - values.length)).fill(null)].slice(0, times.length), then = changedInput(name, history, future)
    caption.textContent = name
    curves(host, { label: `Input ${name}`, times, height: 130, edge: future.length ? history.length - 1 : null, tracks: [{ name, kind: 'history thin', values: to([...history, ...future]) }, then && { name: 'what if', kind: 'changed thin', values: to(then) }].filter(Boolean) })
  })
}

export function difference({ policy, base, scenario, words, came }) {
  if (!scenario) return against(policy, base, came)
  const then = other(scenario)
  if (policy.task === 'classify') {
    const [name, by] = Object.entries(scenario.difference[0]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))[0]
    const end = then.label === base.label ? `most probable stays '${base.label}'` : `most probable becomes '${then.label}'`
    return `With ${words}: '${name}' goes from ${percent(base.probabilities[name])} to ${percent(then.probabilities[name])} (${signed(+(100 * by).toFixed(1))} points); ${end}.`
  }
  if (policy.task === 'label' && policy.classes.length) {
    const moved = base.labels.filter((label, at) => label !== then.labels[at]).length
    return `With ${words}: ${moved ? `${moved} of ${base.labels.length} steps change their class` : `no step of ${base.labels.length} changes its class`}.`
  }
  const pairs = policy.task === 'label' ? [[policy.schema.label, base.labels, then.labels]] : Object.keys(base.targets).map(name => [name, base.targets[name].median, then.targets[name].median])
  return pairs.map(([name, a, b]) => {
    const by = b.map((v, at) => v - a[at]), most = by.reduce((best, v, at) => Math.abs(v) > Math.abs(by[best]) ? at : best, 0), level = mean(by)
    if (!by[most]) return `With ${words}: ${name} stays as it is.`
    return `With ${words}: ${name} is ${number(+Math.abs(level).toPrecision(3))} ${level > 0 ? 'higher' : 'lower'} on average (${number(mean(a))} → ${number(mean(b))}), most at ${timeWords(base.times[most])} (${signed(+by[most].toPrecision(3))}).`
  }).join(' ')
}
function against(policy, base, came) {
  if (policy.task === 'classify') return ''
  if (policy.task === 'label' && policy.classes.length) {
    const [truth = []] = Object.values(came), known = truth.filter(Boolean).length
    return known ? `${base.labels.filter((label, at) => truth[at] === label).length} of the ${known} labels in the file are told right.` : ''
  }
  const told = name => policy.task === 'label' ? base.labels : base.targets[name].median
  return Object.entries(came).map(([name, values]) => {
    const misses = values.flatMap((v, at) => v == null ? [] : typeof v === 'number' ? [Math.abs(v - told(name)[at])] : [])
    return misses.length ? policy.task === 'label' ? `What is told of ${name} is ${number(mean(misses))} off what the file says on average, over ${misses.length} steps.` : `What came of ${name} is ${number(mean(misses))} off the median on average, over ${misses.length} steps.` : ''
  }).filter(Boolean).join(' ')
}

export function table({ policy, base, scenario }) {
  const then = scenario && other(scenario)
  if (policy.task === 'classify') return { head: ['class', 'probability', ...(then ? ['what if'] : [])], rows: Object.entries(base.probabilities).map(([name, share]) => [name, share, ...(then ? [then.probabilities[name]] : [])]) }
  if (policy.task === 'label') {
    const classes = Object.keys(base.probabilities)
    return { head: ['time', policy.schema.label || 'label', ...classes.map(name => `probability of ${name}`), ...(then ? ['what if'] : [])], rows: base.times.map((time, at) => [time, base.labels[at], ...classes.map(name => base.probabilities[name][at]), ...(then ? [then.labels[at]] : [])]) }
  }
  const targets = Object.entries(base.targets), several = targets.length > 1, title = (name, words) => several ? `${name} ${words}` : words
  return {
    head: ['time', ...targets.flatMap(([name, answer]) => [title(name, 'median'), ...levels(answer).map(q => title(name, `q${q}`)), ...(then ? [title(name, 'what if')] : [])])],
    rows: base.times.map((time, at) => [time, ...targets.flatMap(([name, answer]) => [answer.median[at], ...levels(answer).map(q => answer.quantiles[q][at]), ...(then ? [then.targets[name].median[at]] : [])])]),
  }
}
export function csv(view) {
  const { head, rows } = table(view), field = v => /[",\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? '')
  return `${[['series', ...head], ...rows.map(row => [view.base.name, ...row])].map(row => row.map(field).join(',')).join('\n')}\n`
}
