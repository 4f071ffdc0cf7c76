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
