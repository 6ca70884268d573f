// Applies the theme that was chosen here, before the first paint. It is no module: modules may run after that.
try {
  const theme = JSON.parse(localStorage.getItem("roomcast.theme") ?? '""');
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}
