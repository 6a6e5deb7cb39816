// Starts the page: language first, so that nothing flashes in the wrong one, then the search.

import { byId } from "./dom.js";
import { redraw, startSearch } from "./search.js";
import { startLanguage, switchLanguage } from "./words.js";

startLanguage();
byId("language").addEventListener("click", () => {
  switchLanguage();
  redraw();
});
await startSearch();
