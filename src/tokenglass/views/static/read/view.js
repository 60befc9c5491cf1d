/** A text as the model reads it: how surprising each token was, where, and what it had expected there. */

import { announce } from "../lib/announce.js";
import { bars } from "../lib/bars.js";
import { button, fill, h, sheet } from "../lib/dom.js";
import { bits, count, integer, percent, rampOfBits, significant } from "../lib/figures.js";
import { glyphs, hexBytes, spoken } from "../lib/glyphs.js";
import { table } from "../lib/table.js";
import { did } from "../parts/did.js";
import { choices, fact, textField } from "../parts/fields.js";
import { word } from "../parts/prose.js";
import { Run } from "../parts/run.js";
import { term } from "../parts/terms.js";
import { MEASURES } from "./measures.js";

const SAMPLE = "The old lighthouse keeper climbed the stairs every evening, lit the lamp, and ate his umbrella. Paris is the capital of France, and Rome is the capital of Italy. To be, or not to be, that is the question.";
const TOP = 6;
const PEAKS = 8;

export class Read extends HTMLElement {
  /** @type {any} */
  app = null;
  /** @type {any[]} */
  #rows = [];
  /** @type {any} what the end of the stream said */
  #totals = null;
  #measure = "surprisal";
  /** @type {number | null} */
  #asked = null;
  #run = new Run({ go: "read it" }, (signal) => this.#work(signal), (how) => this.#ended(how));
  #text = textField("text to read", "", { rows: 3, run: () => this.#go() });
  #file = h("input", { type: "file", accept: "text/*,.txt,.md", class: "unseen", tabindex: "-1", "aria-label": "text file", onchange: (event) => this.#open(event.target.files[0]) });
  #bar = /** @type {HTMLProgressElement} */ (h("progress", { max: 1, value: 0, "aria-label": "read so far", hidden: true }));
  #facts = h("div.facts");
  #legend = h("div.legend");
  #heat = h("div.heat", { role: "group", "aria-label": "the text, shaded; arrow keys move along it" });
  #peaks = h("div.peaks");
  #detail = h("aside.expected.panel", { "aria-label": "what the model expected", "aria-live": "polite" });
  #measures = h("div");

  get keys() {
    const some = () => this.#rows.some((row) => row.surprisal_bits !== null);
    return [
      { key: "n", label: "next surprise", foot: true, run: () => this.#hop(1), when: some },
      { key: "p", label: "surprise before", foot: true, run: () => this.#hop(-1), when: some },
      { key: "ArrowRight", label: "next token", foot: true, run: () => this.#move(1), when: some },
      { key: "ArrowLeft", label: "token before", foot: true, run: () => this.#move(-1), when: some },
      { key: "m", label: "shade by …", foot: true, run: () => this.#turn(), when: some },
      { key: "r", label: this.#run.busy ? "stop" : "read it", foot: true, run: () => (this.#run.busy ? this.#run.stop() : this.#go()) },
    ];
  }

  show(/** @type {{text?: string} | null} */ args) {
    const fresh = !this.firstChild;
    if (fresh) this.#build();
    if (args?.text !== undefined) this.#text.value = args.text;
    if (fresh || args?.text !== undefined) this.#go();
  }

  #build() {
    sheet("parts/parts.css");
    this.#text.value = SAMPLE;
    this.#drawMeasures();
    const drop = h("div.drop", {
      ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
      ondragleave: () => drop.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        drop.classList.remove("over");
        const [file] = event.dataTransfer.files;
        if (file) this.#open(file);
        else this.#text.value = event.dataTransfer.getData("text");
      },
    }, this.#text);
    this.#heat.addEventListener("click", (event) => this.#press(event));
    this.#heat.addEventListener("keydown", (event) => this.#press(event));
    fill(this, h("h2.unseen", {}, "Read"),
      h("div.form", {},
        h("p.lead", {}, "The model reads a text from left to right and, before each token, says what it expects. The stronger the shade, the less it expected what came."),
        drop,
        h("div.row", {}, this.#run.button, button("open a file", () => this.#file.click()), this.#file, this.#bar, this.#run.status),
        this.#run.error),
      this.#facts,
      h("div.row", {}, this.#measures, this.#legend),
      h("div.reading", {}, h("div.stack", {}, this.#heat, this.#peaks), this.#detail));
  }

  #drawMeasures() {
    fill(this.#measures, choices("shade by", Object.entries(MEASURES).map(([value, { label }]) => ({ value, label })), this.#measure, (value) => this.#shade(value)));
  }

  async #open(/** @type {File | undefined} */ file) {
    if (!file) return;
    const most = this.app.info.limits.text_characters;
    if (file.size > 4 * most) return this.#run.fail(`this file has ${integer(file.size)} bytes; the page reads texts of up to ${integer(most)} characters: cut out the part you want`);
    const text = await file.text();
    if (text.length > most) return this.#run.fail(`this file has ${integer(text.length)} characters, the page reads up to ${integer(most)}: cut out the part you want`);
    this.#text.value = text;
    this.#go();
  }

  #go() {
    this.#run.start();
    this.app.refreshKeys();
  }

  async #work(/** @type {AbortSignal} */ signal) {
    this.#rows = [];
    this.#totals = null;
    this.#asked = null;
    fill(this.#heat);
    fill(this.#peaks);
    fill(this.#detail, h("p.note", {}, "Press a token to see what the model expected in its place."));
    this.#bar.hidden = false;
    this.#bar.value = 0;
    this.#totals = await this.app.backend.stream("score", { text: this.#text.value, top: TOP }, { signal, onItem: (item) => this.#take(item) });
  }

  #take(item) {
    const before = this.#rows.length;
    this.#rows.push(...item.rows);
    this.#bar.value = item.n_done / Math.max(1, item.n_tokens);
    this.#run.say(`${integer(item.n_done)} of ${count(item.n_tokens, "token")}`);
    this.#heat.append(...item.rows.map((row, i) => this.#token(row, before + i)));
    this.#drawFacts();
    this.#drawLegend();
  }

  #ended(/** @type {string} */ how) {
    this.#bar.hidden = true;
    if (how === "done") did({ what: "scored", own: this.#text.value !== SAMPLE });
    if (how === "stopped") this.#run.say(`stopped after ${count(this.#rows.length, "token")}; what was read stays`);
    else if (how === "done") this.#run.say("");
    this.#drawFacts();
    this.#drawPeaks();
    this.app.refreshKeys();
    const [peak] = this.#sorted();
    if (how === "done" && peak) announce(`${count(this.#rows.length, "token")} read; the most surprising is ${spoken(peak)}, ${bits(peak.surprisal_bits)}`);
    if (this.#asked === null && peak) this.#ask(peak.index, false);
  }

  /** @param {any} row @param {number} place */
  #token(row, place) {
    return word(row.token, {
      class: "bit shaded", role: "button", tabindex: place === 0 ? "0" : "-1", "aria-pressed": "false", dataset: { index: row.index },
      "data-ramp": MEASURES[this.#measure].ramp(row), "aria-label": `${spoken(row)}: ${MEASURES[this.#measure].told(row)}`, title: MEASURES[this.#measure].told(row),
    });
  }

  #shade(/** @type {string} */ measure) {
    this.#measure = measure;
    did({ what: "shade", measure });
    const { ramp, told } = MEASURES[measure];
    for (const each of this.#heat.children) {
      const row = this.#rows[Number(each.dataset.index)];
      const shade = ramp(row);
      if (shade === null) each.removeAttribute("data-ramp");
      else each.dataset.ramp = shade;
      each.title = told(row);
      each.setAttribute("aria-label", `${spoken(row)}: ${told(row)}`);
    }
    this.#drawLegend();
  }

  #turn() {
    const names = Object.keys(MEASURES);
    this.#shade(names[(names.indexOf(this.#measure) + 1) % names.length]);
    this.#drawMeasures();
    announce(`shaded by ${MEASURES[this.#measure].label}`);
  }

  #drawLegend() {
    const scored = this.#rows.filter((row) => row.surprisal_bits !== null);
    const { classes, ramp } = MEASURES[this.#measure];
    fill(this.#legend, h("ul.scale", { "aria-label": `shades of ${MEASURES[this.#measure].label}, with numbers of tokens` }, classes.map(({ shade, label }) =>
      h("li", {}, h("span.shade.shaded", { "data-ramp": shade }, label), h("span.small.number", {}, integer(scored.filter((row) => ramp(row) === shade).length))))));
  }

  #drawFacts() {
    const scored = this.#rows.filter((row) => row.surprisal_bits !== null);
    const sofar = scored.reduce((sum, row) => sum + row.surprisal_bits, 0);
    const found = this.#totals;
    fill(this.#facts,
      fact(integer(this.#rows.length), "tokens"),
      fact(significant(found?.bits ?? sofar, 4), [term("surprisal", "bits of surprise"), found ? "" : " so far"]),
      found && found.perplexity !== null ? fact(significant(found.perplexity, 4), term("perplexity", "perplexity")) : null,
      found && found.bits_per_byte !== null ? fact(significant(found.bits_per_byte, 3), term("bits_per_byte", "bits per byte")) : null,
      found?.stride ? fact(integer(found.window), `tokens a window, ${integer(found.stride)} apart`) : null);
  }

  #sorted() {
    return this.#rows.filter((row) => row.surprisal_bits !== null).sort((a, b) => b.surprisal_bits - a.surprisal_bits);
  }

  #drawPeaks() {
    const peaks = this.#sorted().slice(0, PEAKS);
    if (!peaks.length) return fill(this.#peaks);
    fill(this.#peaks, h("h3", {}, "Most surprising"), h("ol.row", {}, peaks.map((row) => h("li", {},
      button([glyphs(row), h("span.small.number.soft", {}, bits(row.surprisal_bits))], () => this.#ask(row.index, true), { class: "peak" })))));
  }

  #press(event) {
    const found = event.target.closest?.(".bit");
    if (!found || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    this.#ask(Number(found.dataset.index), true);
  }

  #move(/** @type {number} */ by) {
    const at = this.#asked ?? -1;
    this.#ask(Math.max(0, Math.min(this.#rows.length - 1, at + by)), true);
  }

  /** To the next token that is more surprising than nine in ten. */
  #hop(/** @type {1 | -1} */ way) {
    const sorted = this.#sorted();
    const floor = sorted[Math.floor(sorted.length / 10)]?.surprisal_bits ?? 0;
    const places = sorted.filter((row) => row.surprisal_bits >= floor).map((row) => row.index).sort((a, b) => (a - b) * way);
    const at = this.#asked ?? (way > 0 ? -1 : this.#rows.length);
    const next = places.find((place) => (place - at) * way > 0) ?? places[0];
    if (next !== undefined) this.#ask(next, true);
  }

  #ask(/** @type {number} */ index, /** @type {boolean} */ focus) {
    this.#asked = index;
    for (const each of this.#heat.children) {
      const here = Number(each.dataset.index) === index;
      each.classList.toggle("asked-for", here);
      each.setAttribute("aria-pressed", String(here));
      each.tabIndex = here ? 0 : -1;
      if (here && focus) {
        each.focus({ preventScroll: true });
        each.scrollIntoView({ block: "nearest" });
      }
    }
    fill(this.#detail, expected(this.#rows[index], this.#rows));
    if (focus) did({ what: "read", peak: this.#sorted()[0]?.index === index });
  }
}

/** What the model expected at a token's place, and what came. */
function expected(row, /** @type {any[]} */ rows) {
  const before = rows.slice(Math.max(0, row.index - 6), row.index);
  const head = h("p.context", {}, row.index > 6 ? "…" : "", before.map((each) => word(each.token, { class: "soft" })), word(row.token, { class: "chosen" }));
  if (row.surprisal_bits === null) return [head, h("p.note", {}, "Nothing stands before this token, so nothing predicts it; it is not scored.")];
  const came = row.top.find((each) => each.id === row.id);
  const shown = [...row.top, ...(came ? [] : [{ ...row, rank: row.rank }])];
  return [
    head,
    h("p", {}, verdict(row)),
    table({
      caption: "what was expected here",
      columns: [
        { name: "rank", label: "rank", align: "number" }, { name: "token", label: "expected", heads: true },
        { name: "bar", label: h("span.unseen", {}, "as a bar"), align: "wide" }, { name: "p", label: term("p", "probability"), align: "number" },
      ],
      rows: shown.map((each) => ({
        rank: integer(each.rank), token: [glyphs(each), each.id === row.id ? h("span.note", {}, " ◂ came") : null],
        bar: bars({ model: each.p }), p: percent(each.p), class: each.id === row.id ? "chosen" : "",
      })),
    }),
    h("p.note", {}, term("surprisal", bits(row.surprisal_bits)), " of surprise · ", term("entropy_at", bits(row.entropy_bits)), ` of entropy before it · id ${row.id} · ${hexBytes(row.bytes)}`),
  ];
}

function verdict(row) {
  const [best] = row.top;
  if (row.rank === 1) return [`The model's first guess, with ${percent(row.p)}.`];
  const how = rampOfBits(row.surprisal_bits) >= 6 ? "A surprise" : "Not the first guess";
  return [`${how}: ${percent(row.p)}, rank ${integer(row.rank)}. `, best ? ["The model expected ", glyphs(best), ` (${percent(best.p)}).`] : null];
}

customElements.define("tg-read", Read);
