// What a person pastes or opens, as series that the server reads: CSV, TSV or JSON. Guesses delimiter, decimal comma, time and
// series column; judges nothing: a word among numbers is sent as it is, for the server to say what is wrong with it.

const MISSING = /^(|-|–|na|n\/a|nan|null|none)$/i
const TIME_NAMES = /^(time|timestamp|date|datetime|ds|zeit|datum|day|month|when|time_.*|.*_time|.*_at)$/i
const SERIES_NAMES = /^(series|series_id|unique_id|item|item_id|id|site|name)$/i

export class Unreadable extends Error {}

// Seconds and zone may be left out; without a zone a time is UTC, as the server takes it.
export function stamp(text) {
  if (typeof text === 'number') return NaN
  const iso = String(text).trim().replace(' ', 'T')
  if (!/^\d{4}-\d\d/.test(iso)) return NaN
  return Date.parse(/T.*([zZ]|[+-]\d\d:?\d\d)$/.test(iso) || !iso.includes('T') ? iso : `${iso}Z`)
}
function time(text, dates) {
  const clean = text.trim(), point = /^(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)$/.exec(clean)
  if (dates && point) return `${point[3]}-${point[2].padStart(2, '0')}-${point[1].padStart(2, '0')}${point[4]}`
  return !dates && /^-?\d+$/.test(clean) ? +clean : clean
}

// Fields between quotes may hold delimiters, line ends and doubled quotes.
function split(text, delimiter) {
  const rows = [[]]
  let field = '', quoted = false
  const close = () => { rows.at(-1).push(field); field = '' }
  for (let at = 0; at < text.length; at++) {
    const c = text[at]
    if (quoted) { if (c !== '"') field += c; else if (text[at + 1] === '"') { field += '"'; at++ } else quoted = false }
    else if (c === '"' && !field) quoted = true
    else if (c === delimiter) close()
    else if (c === '\n') { close(); rows.push([]) }
    else if (c !== '\r') field += c
  }
  close()
  return rows.filter(row => row.length > 1 || row[0].trim())
}
function tableOf(text) {
  const first = text.split('\n', 1)[0].replace(/"[^"]*"/g, '')
  const delimiter = ['\t', ';', ',', '|'].map(d => [first.split(d).length, d]).sort((a, b) => b[0] - a[0])[0][1]
  const [header, ...rows] = split(text, delimiter), names = header.map(name => name.trim())
  if (names.some(name => /^-?[\d.,]+$/.test(name))) throw new Unreadable(`The first line must name the columns, but it holds '${names.find(name => /^-?[\d.,]+$/.test(name))}'. Add a line of names above it.`)
  if (!rows.length) throw new Unreadable('There is a line of names, but no line of values below it. Paste the rows, too.')
  const wrong = rows.findIndex(row => row.length > names.length)
  if (wrong >= 0) throw new Unreadable(`Line ${wrong + 2} has ${rows[wrong].length} fields, but the first line names ${names.length}. Put text that holds '${delimiter}' into quotes.`)
  const cells = rows.map(row => names.map((_, at) => row[at] ?? ''))
  return { names, rows: cells, comma: delimiter !== ',' && cells.some(row => row.some(cell => /^\s*-?\d[\d.]*,\d+\s*$/.test(cell))) }
}
const fromRecords = list => {
  const names = [...new Set(list.flatMap(Object.keys))]
  return { names, rows: list.map(one => names.map(name => one[name] == null ? '' : String(one[name]))), comma: false }
}

// Either { series } as a request's body holds them, or a { table } whose columns have still to be told apart.
export function read(text) {
  const clean = text.replace(/^\uFEFF/, '').trim()
  if (!clean) throw new Unreadable('There is nothing to read. Paste rows with a line of names above them, or a JSON body.')
  if (!/^[[{]/.test(clean)) return { table: tableOf(clean) }
  let found
  try { found = JSON.parse(clean) } catch (error) { throw new Unreadable(`This begins like JSON but cannot be read: ${error.message}`) }
  if (Array.isArray(found.series)) return { series: found.series }
  if (found.times && found.columns) return { series: [found] }
  if (Array.isArray(found) && found.length && found.every(one => one && typeof one === 'object')) return found[0].columns ? { series: found } : { table: fromRecords(found) }
  const lists = Object.entries(found).filter(([, values]) => Array.isArray(values))
  if (lists.length) return { table: fromRecords(lists[0][1].map((_, at) => Object.fromEntries(lists.map(([name, values]) => [name, values[at]])))) }
  throw new Unreadable("This JSON holds no series. Send a body with 'series', a list of records, or an object of columns.")
}

export const dated = policy => policy.schema.is_time || policy.schema.in_months
export const inputs = policy => [...policy.schema.target, ...policy.schema.past, ...policy.schema.known]

export function guess(table, policy) {
  const own = policy.table || {}, free = table.names.filter(name => !inputs(policy).includes(name) && !(name in policy.schema.categories))
  const looks = name => table.rows.slice(0, 5).every(row => !Number.isNaN(stamp(time(row[table.names.indexOf(name)], true))))
  const when = free.find(name => name === own.time) ?? free.find(looks) ?? free.find(name => TIME_NAMES.test(name)) ?? ''
  const ids = (own.series_id || []).filter(name => table.names.includes(name))
  return { time: when, series: ids.length ? ids : free.filter(name => name !== when && SERIES_NAMES.test(name)).slice(0, 1) }
}

// Series by name, each with columns over all of its rows.
export function group(table, chosen, policy) {
  const at = name => table.names.indexOf(name), found = new Map(), words = Object.keys(policy.schema.categories).filter(name => at(name) >= 0)
  const columns = inputs(policy).filter(name => at(name) >= 0), label = at(policy.schema.label)
  const value = cell => {
    const clean = cell.trim()
    if (MISSING.test(clean)) return null
    const plain = (table.comma ? clean.replaceAll('.', '').replace(',', '.') : clean).replace(/[\s\u00a0]/g, '')
    return Number.isFinite(+plain) ? +plain : clean
  }
  for (const row of table.rows) {
    const name = chosen.series.map(column => row[at(column)].trim()).join(' / ')
    if (!found.has(name)) found.set(name, { name, times: [], columns: Object.fromEntries(columns.map(c => [c, []])), static: Object.fromEntries(words.map(c => [c, row[at(c)].trim()])), labels: [] })
    const item = found.get(name)
    if (chosen.time) item.times.push(time(row[at(chosen.time)], dated(policy)))
    else if (!dated(policy)) item.times.push(item.times.length)
    for (const column of columns) item.columns[column].push(value(row[at(column)]))
    if (label >= 0) item.labels.push(policy.classes.length ? row[label].trim() : value(row[label]))
  }
  for (const item of found.values()) if (stamp(item.times[0]) > stamp(item.times.at(-1))) for (const list of [item.times, item.labels, ...Object.values(item.columns)]) list.reverse()
  return [...found.values()]
}

// Rows below the last measured target are the future already, and so is what a policy needs to know ahead.
export function lastOrigin(item, policy) {
  const length = Math.max(item.times.length, 1)
  if (policy.task !== 'forecast' || item.raw) return length - 1
  const measured = item.times.findLastIndex((_, t) => policy.schema.target.some(name => item.columns[name]?.[t] != null))
  const last = measured < 0 ? length - 1 : measured
  const constant = policy.table?.static || [], ahead = policy.schema.known.some(name => !constant.includes(name))
  return Math.max(0, ahead ? Math.min(last, length - 1 - policy.horizon) : last)
}

const list = values => Array.isArray(values) ? values : []
function apart(records) {
  const names = [...new Set(records.flatMap(Object.keys))].filter(name => name !== 'time')
  return { times: records.map(one => one.time), columns: Object.fromEntries(names.map(name => [name, records.map(one => one[name] ?? null)])) }
}
// A series of a request's body goes out as it came in; what is drawn of it is what can be.
export function given(raw) {
  const rows = list(raw?.records), { times, columns } = rows.length ? apart(rows) : { times: list(raw?.times), columns: raw?.columns || {} }
  const future = raw?.future_records ? apart(list(raw.future_records)).columns : raw?.future || {}
  return { name: String(raw?.name ?? ''), times, columns, future, raw }
}

// The request's series with everything up to the origin as its history, and what truly came after it.
export function cut(item, origin, policy, steps = policy.horizon) {
  const { schema } = policy, constant = policy.table?.static || []
  if (item.raw) return { series: item.raw, shown: item, came: {} }
  const named = { ...(item.name && { name: item.name }), ...(Object.keys(item.static).length && { static: item.static }) }
  if (policy.task !== 'forecast') return { series: { ...named, times: item.times, columns: item.columns }, shown: item, came: item.labels.length && policy.task === 'label' ? { [schema.label]: item.labels } : {} }
  const reach = Math.max(policy.history + Math.max(0, ...(policy.lags || [])), 2 * policy.history), from = Math.max(0, origin + 1 - reach)
  const part = (from, end) => values => values.slice(from, end), past = part(from, origin + 1), next = part(origin + 1, origin + 1 + steps)
  const columns = Object.fromEntries(Object.entries(item.columns).map(([name, values]) => [name, past(values)]))
  const last = values => [...next(values), ...Array(steps).fill(values.findLast(v => v != null))].slice(0, steps)
  const future = Object.fromEntries(schema.known.filter(name => item.columns[name]).map(name => [name, constant.includes(name) ? last(item.columns[name]) : next(item.columns[name])]))
  const series = { ...named, times: past(item.times), columns, ...(Object.keys(future).length && { future }) }
  return { series, shown: series, came: Object.fromEntries(schema.target.map(name => [name, next(item.columns[name] || [])])) }
}
