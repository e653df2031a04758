// Where a series comes from: the server's example, a file, or what is pasted; and from which of its steps is looked ahead.
import { timeWords } from './chart.js'
import { Unreadable, cut, given, group, guess, lastOrigin, read } from './data.js'
import { $, make } from './server.js'

const SEARCHED = 8, LARGEST = 50e6
let policy, example, moved, table = null, items = [], item = null, origin = 0

export const chosen = () => ({ item, ...cut(item, origin, policy) })
export const planned = () => item.raw === example ? null : cut(item, origin, policy, policy.plan.steps).series

function fault(words) { $('fault').textContent = words; $('fault').hidden = !words }
const quietly = work => async (...given) => {
  fault('')
  try { await work(...given) } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    fault(error.message)
  }
}

function list(search = '') {
  const found = items.map((one, at) => [at, one.name || `series ${at}`]).filter(([, name]) => name.toLowerCase().includes(search.toLowerCase()))
  $('series').replaceChildren(...found.slice(0, 500).map(([at, name]) => make('option', { value: at, selected: items[at] === item }, name)))
  $('found').textContent = search || found.length > 500 ? `${found.length} of ${items.length}${found.length > 500 ? ', the first 500 listed' : ''}` : ''
  return found
}
function offer(series, words) {
  if (!series.length) throw new Unreadable('There is no series in it.')
  items = series
  $('searching').hidden = items.length <= SEARCHED
  $('search').value = ''
  $('source').textContent = words
  $('to-example').hidden = items[0].raw === example
  use(items[0])
  list()
}
function use(one) {
  item = one
  origin = lastOrigin(item, policy)
  const last = item.times.length - 1, free = policy.task === 'forecast' && !item.raw && last >= policy.history
  $('origin-row').hidden = !free
  if (free) Object.assign($('origin'), { min: policy.history - 1, max: last, value: origin })
  told()
  moved()
}
function told() {
  const words = item.times.length ? timeWords(item.times[origin]) : ''
  $('origin-said').textContent = words
  $('origin').setAttribute('aria-valuetext', words)
}

// A table's columns are guessed apart, and the guess can be put right.
function columns() {
  const found = guess(table, policy), option = (name, chosen) => make('option', { value: name, selected: name === chosen }, name || 'none')
  const several = found.series.length > 1 ? found.series.join(' + ') : ''
  $('time-column').replaceChildren(...['', ...table.names].map(name => option(name, found.time)))
  $('series-column').replaceChildren(...['', ...(several ? [several] : []), ...table.names].map(name => option(name, several || found.series[0] || '')))
  $('reading').hidden = false
  regroup(found.series)
}
function regroup(series) {
  const time = $('time-column').value, found = group(table, { time, series }, policy), { schema } = policy
  const needed = [...schema.target, ...schema.past, ...schema.known, ...Object.keys(schema.categories)], used = [time, ...series, ...needed, policy.task === 'label' && schema.label]
  const unread = table.names.filter(name => !used.includes(name)), absent = needed.filter(name => !table.names.includes(name))
  const size = `${table.rows.length.toLocaleString('en')} rows, ${found.length.toLocaleString('en')} series`
  $('read').textContent = [`${size}.`, absent.length && `No column is named ${absent.join(', ')}.`, unread.length && `Not read: ${unread.slice(0, 8).join(', ')}${unread.length > 8 ? ' …' : ''}.`].filter(Boolean).join(' ')
  offer(found, table.from)
}
const take = quietly((text, from) => {
  const found = read(text)
  table = found.table && { ...found.table, from }
  $('reading').hidden = !table
  if (table) columns(); else offer(found.series.map(given), from)
  $('pasting').hidden = true
  $('paste').setAttribute('aria-expanded', 'false')
})
const open = quietly(async file => {
  if (!file) return
  if (file.size > LARGEST) throw new Unreadable(`${file.name} holds ${Math.round(file.size / 1e6)} MB, and this page reads ${LARGEST / 1e6} MB at most. Cut it, or forecast the file with 'lstm-ray forecast'.`)
  await take(await file.text(), file.name)
})
function toExample() { fault(''); table = null; $('reading').hidden = true; offer([given(example)], 'the server’s example, made up from training statistics') }

export function sources(ofPolicy, raw, whenMoved) {
  [policy, example, moved] = [ofPolicy, raw, whenMoved]
  $('series').onchange = event => { use(items[+event.target.value]) }
  $('search').oninput = event => { const found = list(event.target.value); if (found.length && !found.some(([at]) => items[at] === item)) use(items[found[0][0]]) }
  $('open').onclick = () => $('file').click()
  $('file').onchange = event => { open(event.target.files[0]); event.target.value = '' }
  $('paste').onclick = () => {
    $('pasting').hidden = !$('pasting').hidden
    $('paste').setAttribute('aria-expanded', String(!$('pasting').hidden))
    if (!$('pasting').hidden) $('pasted').focus()
  }
  $('use-pasted').onclick = () => take($('pasted').value, 'pasted')
  $('show-request').onclick = () => { $('pasted').value = JSON.stringify({ series: [chosen().series] }) }
  $('to-example').onclick = toExample
  for (const id of ['time-column', 'series-column']) $(id).onchange = quietly(() => {
    const column = $('series-column').value
    regroup(!column ? [] : table.names.includes(column) ? [column] : guess(table, policy).series)
  })
  $('origin').oninput = event => { origin = +event.target.value; told(); moved() }
  addEventListener('dragover', event => { event.preventDefault(); document.body.classList.add('dropping') })
  addEventListener('dragleave', event => { if (!event.relatedTarget) document.body.classList.remove('dropping') })
  addEventListener('drop', event => { event.preventDefault(); document.body.classList.remove('dropping'); open(event.dataTransfer.files[0]) })
  toExample()
}
