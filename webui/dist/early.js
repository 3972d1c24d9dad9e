// Runs before the first paint, so that a chosen theme or language does not flash.
(function () {
  try {
    var theme = localStorage.getItem('dpay.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    document.documentElement.lang = localStorage.getItem('dpay.language') || (/^ko/.test(navigator.language) ? 'ko' : 'en');
  } catch (_) {
    // No storage: the system's theme and English.
  }
})();
