"""The looks and the few lines of script of a lineage page; both lie inside the page."""

from __future__ import annotations

import base64
import hashlib

from tasks.tracking.mlflow_record.links import SCRIPT as MLFLOW_SCRIPT

CSS = """
:root{color-scheme:light dark;--ink:#1d2433;--dim:#667085;--back:#fff;--box:#fff;--line:#c6ccd8;
--band:#f6f7fa;--mark:#d9480f;--link:#1559c7;--0:#3b7dd8;--1:#b2459b;--2:#2f8f6b;--3:#b7791f;
--4:#667085;--5:#7a5af5}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9f0;--dim:#98a2b3;--back:#12151c;--box:#1b202b;
--line:#475063;--band:#171b24;--mark:#ff9250;--link:#7db1ff;--0:#6aa5f5;--1:#e07cc9;--2:#58c196;
--3:#e0a94a;--4:#98a2b3;--5:#a795ff}}
*{box-sizing:border-box}
body{margin:0;font:13px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back)}
header{padding:.7rem 1rem .5rem;border-bottom:1px solid var(--line)}
h1{font-size:16px;margin:0 0 .2rem;overflow-wrap:anywhere}
h2{font-size:14px;margin:.1rem 0;overflow-wrap:anywhere}h3{font-size:12px;margin:.7rem 0 .15rem}
p{margin:.2rem 0}.dim{color:var(--dim)}a{color:var(--link)}
.chips{display:flex;flex-wrap:wrap;gap:.4rem;margin-top:.4rem}
.chip{border:1px solid var(--line);border-radius:1rem;padding:0 .6rem;text-decoration:none}
main{display:flex;align-items:flex-start}
.graph{flex:1;overflow:auto;min-width:0;max-height:calc(100vh - 5.6rem)}
#sparring-hint{color:var(--mark)}
aside{flex:0 0 20rem;padding:.6rem 1rem;border-left:1px solid var(--line);overflow:auto;
max-height:calc(100vh - 5.6rem);position:sticky;top:0}
@media (max-width:60rem){main{display:block}aside{border:0;max-height:none}}
.detail{display:none}.detail:target{display:block}
aside:not(:has(.detail:target)) .detail.focus{display:block}
.js .detail,.js aside:not(:has(.detail:target)) .detail.focus{display:none}
.js .detail.chosen{display:block!important}
table{border-collapse:collapse;width:100%}
td{padding:.08rem .5rem .08rem 0;vertical-align:top;overflow-wrap:anywhere}
td.dim:first-child{white-space:nowrap}td+td.dim{overflow-wrap:normal}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code,pre{font:11.5px/1.4 ui-monospace,monospace;overflow-wrap:anywhere;margin:0}
pre{white-space:pre-wrap}
svg{display:block}svg text{font:600 10.5px system-ui,sans-serif;fill:var(--ink)}
svg text.s{font:400 10px system-ui,sans-serif;fill:var(--dim)}
svg text.lane{font:600 12px system-ui,sans-serif;fill:var(--dim)}
.band{fill:var(--band)}.band.odd{fill:none}
.node rect{fill:var(--box);stroke:var(--line);stroke-width:1.2}.node .bar{stroke:none}
.node a{cursor:pointer}.out{font-size:12px!important;fill:var(--link)!important}
.gone>a>rect:first-child,.removed>a>rect:first-child{stroke-dasharray:4 3}
.gone text{fill:var(--dim)}
.focus>a>rect:first-child{stroke:var(--mark);stroke-width:2.4}
.edge{fill:none;stroke:var(--line);stroke-width:1.1;opacity:.75}.edge.wide{opacity:.22}
.l0 .bar{fill:var(--0)}.l1 .bar{fill:var(--1)}.l2 .bar{fill:var(--2)}
.l3 .bar{fill:var(--3)}.l4 .bar{fill:var(--4)}.l5 .bar{fill:var(--5)}
.lit .node:not(.on){opacity:.22}.lit .edge{opacity:.06}
.lit .edge.on{opacity:1;stroke:var(--mark);stroke-width:1.5}
.node.chosen>a>rect:first-child{stroke:var(--mark);stroke-width:2.4}
#hide{margin:0 .3rem 0 0;vertical-align:-1px}
body:has(#hide:checked) :is(.node.l5,.edge.e5,.band5){display:none}
""".strip()

SCRIPT = """
(() => {
const all = (what) => [...document.querySelectorAll(what)];
const graph = document.querySelector('svg'), into = {}, out = {};
let chosen = null;
document.documentElement.classList.add('js');
for (const path of all('path.edge')) {
  const {from, to} = path.dataset;
  (into[to] ??= []).push([from, path]); (out[from] ??= []).push([to, path]);
}
const walk = (start, next, on) => {
  const queue = [start], seen = new Set(queue);
  while (queue.length) for (const [name, path] of next[queue.pop()] ?? []) {
    on.add(path);
    if (!seen.has(name)) { seen.add(name); queue.push(name); }
  }
  for (const name of seen) on.add(document.getElementById('g' + name));
};
const light = (name) => {
  const on = new Set();
  if (name?.startsWith('r')) for (const node of all(`.node[data-run="${name}"]`)) on.add(node);
  else if (name) { walk(name, into, on); walk(name, out, on); }
  graph.classList.toggle('lit', on.size > 0);
  for (const part of all('.node,.edge')) part.classList.toggle('on', on.has(part));
};
const choose = (name) => {
  chosen = name;
  for (const part of all('.chosen')) part.classList.remove('chosen');
  const shown = name ? [`d${name}`, `g${name}`] : [document.querySelector('.detail.focus')?.id];
  for (const id of shown) document.getElementById(id)?.classList.add('chosen');
  light(name);
};
document.addEventListener('click', (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest('a');
  if (link?.dataset.d) { event.preventDefault(); choose(link.dataset.d); }
  else if (!link && event.target.closest('.graph')) choose(null);
});
document.addEventListener('keydown', (event) => { if (event.key === 'Escape') choose(null); });
for (const node of all('.node')) {
  node.addEventListener('mouseenter', () => light(node.id.slice(1)));
  node.addEventListener('mouseleave', () => light(chosen));
}
choose(location.hash.startsWith('#d') ? location.hash.slice(2) : null);
document.querySelector('.node.focus')?.scrollIntoView({block: 'center', inline: 'center'});
})();
""".strip()


def _hash(script: str) -> str:
    """Return how a page's policy names an inline script that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


_MLFLOW_SCRIPT = MLFLOW_SCRIPT.partition("<script>")[2].partition("</script>")[0]
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    f"script-src {_hash(SCRIPT)} {_hash(_MLFLOW_SCRIPT)}"
)
"""What the page may do: nothing from outside, and no script but its own and the recorder's."""
