/** The entry of the one-file hand-out: the same page over recorded rows. */

import "../app.js";
import { RecordedBackend } from "./recorded.js";

const held = /** @type {HTMLElement} */ (document.getElementById("tokenglass-recording"));
const app = /** @type {import("../app.js").App} */ (document.createElement("tg-app"));
app.backend = new RecordedBackend(JSON.parse(held.textContent ?? ""));
document.body.append(app);
