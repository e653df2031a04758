// A model card's Markdown as elements: headings, paragraphs, lists, tables, code, bold and links. Knows no HTML: tags in the
// text are shown as text, and a link leads to the web or into the page, nowhere else.
import { make } from './server.js'

const INLINE = /`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)\s]+)\)|(?<![\w*])[*_](?!\s)([^*_]+?)[*_](?![\w*])/g
const SAFE = /^(https?:\/\/|#)/

function rich(text) {
  const found = []
  let from = 0
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, bold, words, address, soft] = match
    found.push(text.slice(from, match.index))
    if (code) found.push(make('code', {}, code))
    else if (bold) found.push(make('strong', {}, rich(bold)))
    else if (soft) found.push(make('em', {}, soft))
    else found.push(SAFE.test(address) ? make('a', { href: address, rel: 'noreferrer' }, words) : whole)
    from = match.index + whole.length
  }
  return [...found, text.slice(from)].filter(part => part !== '')
}

const cells = line => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map(cell => cell.trim().replaceAll('\\|', '|'))
const RULE = /^\s*\|?\s*:?-{2,}/

function table(lines) {
  const [head, rule, ...rows] = lines.map(cells)
  const right = rule.map(cell => cell.endsWith(':')), cell = (kind, text, at) => make(kind, { class: right[at] && 'number', scope: kind === 'th' && 'col' }, rich(text))
  const whole = make('table', {}, make('thead', {}, make('tr', {}, head.map((text, at) => cell('th', text, at)))), make('tbody', {}, rows.map(row => make('tr', {}, row.map((text, at) => cell('td', text, at))))))
  return make('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Table: ${head.filter(Boolean).slice(0, 3).join(', ')}` }, whole)
}

// The card's own title is the page's; headings begin two levels below it.
export function card(text) {
  const lines = text.replaceAll('\r', '').replace(/^---\n[\s\S]*?\n---\n/, '').split('\n'), found = []
  const run = (at, test) => { let end = at; while (end < lines.length && test(lines[end])) end++; return lines.slice(at, end) }
  for (let at = 0; at < lines.length;) {
    const line = lines[at], heading = /^(#{1,6})\s+(.*)/.exec(line), item = /^\s*([-*]|\d+\.)\s+/.exec(line)
    if (!line.trim()) { at++ } else if (heading) {
      if (heading[1].length > 1 || found.length) found.push(make(`h${Math.min(6, heading[1].length + 1)}`, {}, rich(heading[2])))
      at++
    } else if (line.startsWith('```')) {
      const inside = run(at + 1, other => !other.startsWith('```'))
      found.push(make('pre', { tabindex: 0 }, make('code', {}, inside.join('\n'))))
      at += inside.length + 2
    } else if (line.includes('|') && RULE.test(lines[at + 1] || '')) {
      const inside = run(at, other => other.includes('|'))
      found.push(table(inside))
      at += inside.length
    } else if (item) {
      const inside = run(at, other => /^\s*([-*]|\d+\.)\s+/.test(other) || /^\s+\S/.test(other)), items = []
      for (const one of inside) /^\s*([-*]|\d+\.)\s+/.test(one) ? items.push(one.replace(/^\s*([-*]|\d+\.)\s+/, '')) : items.push(`${items.pop()} ${one.trim()}`)
      found.push(make(/\d/.test(item[1]) ? 'ol' : 'ul', {}, items.map(one => make('li', {}, rich(one)))))
      at += inside.length
    } else {
      const inside = run(at, other => other.trim() && !/^(#|```|\s*[-*]\s)/.test(other))
      found.push(make('p', {}, rich(inside.join(' ') || line)))
      at += Math.max(1, inside.length)
    }
  }
  return found
}
