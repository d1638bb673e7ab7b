// Draws all curves anew over what the reader has chosen.
document.querySelectorAll('input[name=over]').forEach(choice => choice.addEventListener('change', () => {
  document.querySelectorAll('.curve .plotly-graph-div').forEach(plot => Plotly.update(plot,
    {x: plot.data.map(trace => trace.customdata.map(when => when[choice.value]))},
    {'xaxis.title.text': choice.dataset.name, 'xaxis.autorange': true}));
}));
