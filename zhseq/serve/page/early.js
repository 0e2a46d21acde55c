// Runs before anything is painted, so that neither theme nor language flickers. Not a module: those run later.
(() => {
  const read = (key) => {
    try {
      return localStorage.getItem(`zhseq.${key}`);
    } catch {
      return null; // a browser may forbid the storage; then nothing is remembered
    }
  };
  const theme = read("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const chinese = (navigator.language || "").toLowerCase().startsWith("zh");
  document.documentElement.lang = (read("language") || (chinese ? "zh" : "en")) === "en" ? "en" : "zh-Hans";
})();
