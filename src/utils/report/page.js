// Plots are drawn while the page is still read: cards that come to stand beside theirs make them narrower.
const fit = new ResizeObserver(changes => changes.forEach(change => {
  if (change.contentRect.width) Plotly.Plots.resize(change.target);
}));
document.querySelectorAll('.plotly-graph-div').forEach(plot => fit.observe(plot));

// Draws all curves anew over what the reader has chosen.
document.querySelectorAll('input[name=over]').forEach(choice => choice.addEventListener('change', () => {
  document.querySelectorAll('.curve .plotly-graph-div').forEach(plot => Plotly.update(plot,
    {x: plot.data.map(trace => trace.customdata.map(when => when[choice.value]))},
    {'xaxis.title.text': choice.dataset.name, 'xaxis.autorange': true}));
}));
