// Curves over time with a fan of intervals, a cursor that reads values out, bars, and strips of classes. Knows no policy.
// Colours come from classes, so that the theme alone decides them.
import { draw, make, number, percent } from './server.js'
import { stamp } from './data.js'

const SECOND = 1e3, MINUTE = 60e3, HOUR = 3600e3, DAY = 864e5
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')
const two = n => String(n).padStart(2, '0')
const clock = d => `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`
const day = d => `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`
const moment = d => d % DAY === 0 ? day(d) : d % MINUTE ? `${clock(d)}:${two(d.getUTCSeconds())}` : clock(d)
const every = (size, words) => ({ size, key: d => Math.floor(d / size), words })
const months = n => ({ size: n * 28 * DAY, key: d => Math.floor((d.getUTCFullYear() * 12 + d.getUTCMonth()) / n), words: d => `${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}` })
const years = n => ({ size: n * 365 * DAY, key: d => Math.floor(d.getUTCFullYear() / n), words: d => String(d.getUTCFullYear()) })
const LEVELS = [
  ...[1, 5, 15, 30].map(n => every(n * SECOND, moment)), ...[1, 5, 15, 30].map(n => every(n * MINUTE, moment)), ...[1, 3, 6, 12].map(n => every(n * HOUR, moment)),
  ...[1, 2, 7, 14].map(n => every(n * DAY, day)), ...[1, 3, 6].map(months), ...[1, 2, 5, 10, 20, 50].map(years),
]

export function timeWords(time) {
  const at = new Date(stamp(time))
  if (Number.isNaN(+at)) return String(time)
  const date = `${day(at)} ${at.getUTCFullYear()}`
  return String(time).length <= 10 ? date : `${date}, ${clock(at)}${at % MINUTE ? `:${two(at.getUTCSeconds())}` : ''}`
}
export const nice = rough => [1, 2, 2.5, 5, 10].map(m => m * 10 ** Math.floor(Math.log10(rough))).find(step => step >= rough * 0.999)

// Places along the time axis, and their words, as many as there is room for.
function timeTicks(times, most) {
  const dates = times.map(time => new Date(stamp(time)))
  if (dates.some(date => Number.isNaN(+date))) {
    const step = Math.max(1, Math.round(nice(times.length / most)))
    return times.flatMap((time, at) => at % step ? [] : [[at, String(time)]])
  }
  const step = dates[1] - dates[0]
  for (const level of LEVELS.filter(level => !(level.size < step * 0.99))) {
    const keys = dates.map(level.key), at = keys.flatMap((key, i) => i && key !== keys[i - 1] ? [i] : [])
    if (at.length <= most) return at.length ? at.map(i => [i, level.words(dates[i])]) : [[0, timeWords(times[0])]]
  }
  return [[0, timeWords(times[0])]]
}

/* Draws into `host`: { label, times, edge, bands: [{ name, low, high }], tracks: [{ name, kind, values }], height, range }.
   All lists are as long as times, null where there is nothing; `edge` is the last step that is known. */
export function curves(host, spec) {
  const { label, times, edge, bands = [], tracks, height = 320, range } = spec, wide = Math.max(260, host.clientWidth - 12), n = times.length
  const all = [...tracks.flatMap(t => t.values), ...bands.flatMap(b => [...b.low, ...b.high])].filter(Number.isFinite)
  let low = range ? range[0] : Math.min(...all), high = range ? range[1] : Math.max(...all)
  if (!all.length) low = high = 0
  if (low === high) { const room = Math.abs(low) * 0.02 || 1; low -= room; high += room }
  const gap = nice((high - low) / Math.max(2, height / 70)), bottom = Math.floor(low / gap + 1e-9) * gap, top = Math.ceil(high / gap - 1e-9) * gap
  const levels = Array.from({ length: Math.round((top - bottom) / gap) + 1 }, (_, i) => +(bottom + i * gap).toPrecision(12))
  const left = 12 + 7 * Math.max(...levels.map(v => number(v).length)), right = wide - 8, foot = height - 26, head = 10
  const x = at => left + (right - left) * at / Math.max(1, n - 1), y = v => head + (foot - head) * (top - v) / (top - bottom)
  const path = values => values.map((v, at) => v == null ? '' : `${at && values[at - 1] != null ? 'L' : 'M'}${x(at).toFixed(1)} ${y(v).toFixed(1)}`).join('')
  const area = ({ low, high }) => {
    const at = low.flatMap((v, i) => v == null ? [] : [i]), point = values => i => `${x(i).toFixed(1)} ${y(values[i]).toFixed(1)}`
    return at.length ? `M${[...at.map(point(high)), ...at.reverse().map(point(low))].join('L')}Z` : ''
  }
  // A single value has no length as a line.
  const alone = values => values.flatMap((v, i) => v != null && values[i - 1] == null && values[i + 1] == null ? [i] : [])
  const words = timeTicks(times, Math.max(2, Math.floor((right - left) / 90))), cursor = draw('g', { class: 'cursor', visibility: 'hidden' })
  const svg = draw('svg', { viewBox: `0 0 ${wide} ${height}`, height, 'aria-hidden': true },
    levels.map(v => [draw('line', { class: 'grid', x1: left, x2: right, y1: y(v), y2: y(v) }), draw('text', { x: left - 6, y: y(v) + 4, 'text-anchor': 'end' }, number(v))]),
    words.map(([at, text]) => [draw('line', { class: 'grid', x1: x(at), x2: x(at), y1: foot, y2: foot + 5 }), draw('text', { x: Math.min(right - 3.4 * text.length, Math.max(left, x(at))), y: height - 6, 'text-anchor': 'middle' }, text)]),
    edge != null && edge < n - 1 && [draw('rect', { class: 'ahead', x: x(edge), y: head, width: right - x(edge), height: foot - head }), draw('line', { class: 'edge', x1: x(edge), x2: x(edge), y1: head, y2: foot })],
    bands.map((band, i) => draw('path', { class: `band ${band.kind || ''}`, 'data-track': `band ${i}`, d: area(band) })),
    tracks.map(t => [draw('path', { class: `track ${t.kind}`, 'data-track': t.name, d: path(t.values) }), alone(t.values).map(i => draw('circle', { class: `dot ${t.kind}`, cx: x(i), cy: y(t.values[i]), r: 2.5 }))]),
    cursor)
  const tell = at => {
    cursor.replaceChildren(draw('line', { x1: x(at), x2: x(at), y1: head, y2: foot }), ...tracks.filter(t => t.values[at] != null).map(t => draw('circle', { class: `dot ${t.kind}`, cx: x(at), cy: y(t.values[at]), r: 4.5 })))
    cursor.setAttribute('visibility', 'visible')
    // The forecast's line starts at the last value known, which is history's alone to tell.
    const values = tracks.filter(t => t.values[at] != null && !(t.from > at)).map(t => `${t.name} ${number(t.values[at])}`)
    const between = bands.filter(b => b.low[at] != null && at > (edge ?? -1)).map(b => `${b.name} ${number(b.low[at])} to ${number(b.high[at])}`)
    return [timeWords(times[at]), ...values, ...between].join(' · ')
  }
  reader(host, { svg, label, n, tell, start: edge != null && edge < n - 1 ? edge + 1 : n - 1, at: px => Math.round((px - left) / (right - left) * (n - 1)), wide, hide: () => cursor.setAttribute('visibility', 'hidden') })
}

// Pointer, touch and arrow keys move one cursor; only keys speak, for a moving pointer would never stop.
function reader(host, { svg, label, n, tell, start, at, wide, hide }) {
  const kept = host.querySelector('.readout'), hint = 'Point at the chart, or focus it and use the arrow keys, to read values.'
  const words = kept || make('p', { class: 'readout' }, hint), focused = document.activeElement === host
  let place = +(host.dataset.place ?? start)
  const show = (next, aloud) => {
    place = Math.min(n - 1, Math.max(0, next))
    host.dataset.place = place
    words.setAttribute('aria-live', aloud ? 'polite' : 'off')
    words.textContent = tell(place)
  }
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }
  Object.assign(host, {
    tabIndex: 0,
    onpointermove: event => { const box = svg.getBoundingClientRect(); show(at((event.clientX - box.left) * wide / box.width), false) },
    onpointerdown: event => host.onpointermove(event),
    onpointerleave: event => { if (event.pointerType === 'mouse' && document.activeElement !== host) { hide(); words.textContent = hint; delete host.dataset.place } },
    onfocus: () => host.matches(':focus-visible') && show(place, true),
    onblur: () => { hide(); words.textContent = hint; delete host.dataset.place },
    onkeydown: event => { if (event.key in steps) { event.preventDefault(); show(place + steps[event.key], true) } },
  })
  for (const [name, value] of [['role', 'group'], ['aria-roledescription', 'chart'], ['aria-label', `${label}. Arrow keys read values.`]]) host.setAttribute(name, value)
  host.replaceChildren(svg, words)
  if (host.dataset.place != null && (focused || host.matches(':hover'))) show(place, false)
}

export function legend(items) {
  return make('ul', { class: 'legend' }, items.map(([kind, words]) => make('li', {}, make('span', { class: `key ${kind}`, 'aria-hidden': 'true' }), words)))
}

// Probabilities: a bar for each class, and one below it where something was changed.
export function bars(host, rows, wordOfChange) {
  const bar = (kind, share, words) => {
    const inside = make('span', { class: `fill ${kind}` })
    inside.style.width = `${Math.max(0.5, 100 * share)}%`
    return make('div', { class: 'bar' }, make('span', { class: 'track' }, inside), make('span', { class: 'value' }, percent(share), words && make('span', { class: 'hidden' }, ` ${words}`)))
  }
  host.replaceChildren(make('ul', { class: 'bars', 'aria-label': 'Probability of each class' }, rows.map(([name, base, changed, best]) =>
    make('li', { class: best && 'best' }, make('span', { class: 'name' }, name), make('div', {}, bar('forecast', base), changed != null && bar('changed', changed, wordOfChange))))))
}

// One row of cells per answer, coloured by class; neighbours of one class are one cell.
export function strip(host, rows, classes, times) {
  const wide = Math.max(260, host.clientWidth), n = times.length, high = 34, left = 72, x = at => left + (wide - left - 8) * at / n
  const runs = labels => labels.reduce((found, label, at) => { if (at && labels[at - 1] === label) found.at(-1).end = at + 1; else found.push({ label, at, end: at + 1 }); return found }, [])
  const word = runs => runs.map(r => `${r.label} from ${timeWords(times[r.at])}`).slice(0, 20).join(', ')
  const cells = ([name, labels], row) => [draw('text', { x: 0, y: row * high + 18 }, name), ...runs(labels).map(r =>
    draw('rect', { class: `class-${classes.indexOf(r.label) % 7 + 1}`, x: x(r.at), y: row * high + 2, width: Math.max(1, x(r.end) - x(r.at) - (n < 200 ? 1 : 0)), height: 24, rx: 3 }, draw('title', {}, `${r.label}, from ${timeWords(times[r.at])} to ${timeWords(times[r.end - 1])}`)))]
  host.replaceChildren(draw('svg', { viewBox: `0 0 ${wide} ${rows.length * high}`, height: rows.length * high, role: 'img', 'aria-label': rows.map(([name, labels]) => `${name}: ${word(runs(labels))}`).join('. '), 'data-track': 'strip' }, rows.map(cells)))
}

export function spark(values, label) {
  const found = values.filter(Number.isFinite), high = Math.max(...found, 1e-9), step = 120 / Math.max(1, values.length - 1)
  const d = values.map((v, i) => v == null ? '' : `${i && values[i - 1] != null ? 'L' : 'M'}${(i * step).toFixed(1)} ${(26 - 24 * v / high).toFixed(1)}`).join('')
  return draw('svg', { class: 'spark', viewBox: '0 0 120 28', role: 'img', 'aria-label': label, preserveAspectRatio: 'none' }, draw('path', { d }))
}
