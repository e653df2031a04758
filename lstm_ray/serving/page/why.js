// Why an answer is as it is: what moved it from the answer to typical inputs, by input and by stretch of time. Asked for only
// while its part is open, for it costs some ten answers.
import { timeWords } from './chart.js'
import { $, draw, make, number, post, signed } from './server.js'

const MOST = 12, ROW = 24, PATIENCE = 400
let asking = null, timer = null

const words = value => signed(+value.toPrecision(3))

// Bars to both sides of zero: [[name, value]].
function sides(host, label, rows) {
  const wide = Math.max(260, host.clientWidth - 12), left = 12 + 7 * Math.min(28, Math.max(...rows.map(([name]) => name.length))), room = wide - left - 70
  const low = Math.min(0, ...rows.map(([, v]) => v)), high = Math.max(0, ...rows.map(([, v]) => v)), span = high - low || 1, x = v => left + room * (v - low) / span
  const svg = draw('svg', { viewBox: `0 0 ${wide} ${rows.length * ROW}`, height: rows.length * ROW, 'aria-hidden': true }, rows.map(([name, value], at) => [
    draw('text', { x: left - 6, y: at * ROW + 16, 'text-anchor': 'end' }, name.length > 28 ? `${name.slice(0, 27)}…` : name),
    draw('rect', { class: value < 0 ? 'class-2' : 'class-1', x: Math.min(x(0), x(value)), y: at * ROW + 4, width: Math.max(1, Math.abs(x(value) - x(0))), height: ROW - 8 }),
    draw('text', { x: x(high) + 6, y: at * ROW + 16 }, words(value))]))
  host.replaceChildren(svg, make('p', { class: 'hidden' }, `${label}: ${rows.map(([name, value]) => `${name} ${words(value)}`).join(', ')}`))
}

function figure(place, caption, rows) {
  const host = make('div', { class: 'chart' })
  place.append(make('figure', {}, make('figcaption', {}, caption), host))
  sides(host, caption, rows)
}

function show(answer) {
  const why = answer.explanation, place = $('why-charts')
  place.replaceChildren()
  $('why-said').textContent = why ? `Of ${why.of}: ${why.method}.` : answer.warnings.at(-1)
  for (const [name, moved] of Object.entries(why?.answers || {})) {
    const inputs = Object.entries(moved.inputs).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST)
    const parts = Object.values(moved.stretches), stretch = why.stretches.map(({ first, ahead }, at) => [ahead ? 'what lies ahead' : `from ${timeWords(first)}`, parts.reduce((sum, values) => sum + values[at], 0)])
    figure(place, `${name}: ${number(+moved.answer.toPrecision(4))}, from ${number(+moved.baseline.toPrecision(4))} of typical inputs, by input`, inputs)
    figure(place, `${name}, by stretch of time`, stretch)
  }
}

/* `view`: what is on show; `series`: what was sent. */
export function explain(view, series) {
  clearTimeout(timer)
  asking?.abort()
  if (!$('why-part').open || !view) return
  timer = setTimeout(async () => {
    const { task } = view.policy, mine = asking = new AbortController()
    try {
      const found = await post(`v1/${task}`, { series: [series], explain: true }, mine.signal)
      show((found.forecasts || found.classifications || found.labellings)[0])
    } catch (error) {
      if (error.name === 'AbortError') return
      $('why-charts').replaceChildren()
      $('why-said').textContent = `There is no explanation: ${error.message}`
    }
  }, PATIENCE)
}
