// Before the first paint: the theme that was chosen here. A script of its own, as modules run after it.
try {
  const theme = JSON.parse(localStorage.getItem("roomcast.theme") ?? '""');
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}
