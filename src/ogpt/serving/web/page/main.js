/** Builds the page of its parts. */

import { ServerAway, hooks } from "./api.js";
import { AlternativesCard } from "./alternatives_card.js";
import { Announcer } from "./announcer.js";
import { AttentionDialog } from "./attention_dialog.js";
import { DecoderComparison } from "./decoder_comparison.js";
import { NotText, TooLarge, download, readFile } from "./document_files.js";
import { DocumentList } from "./document_list.js";
import { Editor } from "./editor.js";
import { EditorKeys } from "./editor_keys.js";
import { isStart, nextStart } from "./example_starts.js";
import { GhostText } from "./ghost_text.js";
import { keyDialog } from "./key_dialog.js";
import { LookInside } from "./look_inside.js";
import { Models } from "./models.js";
import { OpenDocument } from "./open_document.js";
import { Panels } from "./panels.js";
import { PictureDialog } from "./picture_dialog.js";
import { Preferences } from "./preferences.js";
import { showSeen } from "./seen_by_model.js";
import { ServerSync } from "./server_sync.js";
import { ServerWatch } from "./server_watch.js";
import { ShareDialog } from "./share_dialog.js";
import { Settings } from "./settings.js";
import { SettingsPanel } from "./settings_panel.js";
import { StatusLine } from "./status_line.js";
import { SuggestionList } from "./suggestion_list.js";
import { humanSlice } from "./text_document.js";
import { TokenCount } from "./token_count.js";
import { VerifyDialog } from "./verify_dialog.js";

const $ = (id) => document.getElementById(id);

const announcer = new Announcer($("live"), $("note"));
const settings = new Settings();
const models = new Models(settings);
const editor = new Editor($("editor"));

/** What the parts of the page share. */
const context = {
  editor,
  settings,
  models,
  announcer,
  failed(error) {
    if (error instanceof ServerAway) announcer.say("The server cannot be reached");
    else announcer.show(`The server refused: ${error.message}`, "error");
  },
  onState: () => showState(),
};

hooks.askKey = keyDialog($("key"));
hooks.onKey = () => startServer(); // models and documents: neither came without the key

const list = new SuggestionList($("suggestions"), context);
const ghost = new GhostText(context);
const inside = new LookInside(context);
const attention = new AttentionDialog($("attention-dialog"), context);
const card = new AlternativesCard($("alternatives"), { editor, inside, announcer, attention });
const panel = new SettingsPanel($("settings"), settings);
const opened = new OpenDocument(editor, $("title"));
const sync = new ServerSync(opened, announcer);
const documents = new DocumentList($("documents-panel"), { opened, sync, announcer });
const preferences = new Preferences($("preferences"), (values) => {
  document.documentElement.dataset.theme = values.theme;
  ghost.enable(values.ghost, values.tab);
  $("inside").setAttribute("aria-pressed", String(values.inside));
  $("legend").hidden = !values.inside;
  editor.root.classList.toggle("inside", values.inside);
  inside.enable(values.inside);
});
const panels = new Panels(editor, () => {
  opened.save(); // so that the list has it
  documents.show();
  sync.check();
});
const status = new StatusLine({ editor, inside, announcer }, opened, sync);
const verify = new VerifyDialog($("verify-dialog"), context);
new ShareDialog($("share-dialog"), $("share-text"), { ...context, opened, sync });
const comparison = new DecoderComparison($("compare-dialog"), context);
new PictureDialog($("picture-dialog"), $("picture-text"), { editor, title: $("title"), announcer });
new EditorKeys({ ...context, list, ghost, card, preferences });
new TokenCount($("tokens"), context);
new ServerWatch($("away"), announcer, opened, () => startServer());

function showState() {
  const running = list.running || ghost.running;
  $("stop").hidden = !running;
  $("suggest").hidden = running;
  $("undo").disabled = !editor.history.canUndo;
  $("redo").disabled = !editor.history.canRedo;
  status.show();
  const idle = !running && !list.open && status.source !== null;
  for (const id of ["again", "verify"]) $(id).hidden = !idle;
}

/** Ask for other continuations in the place of the machine text at the caret. */
function regenerate() {
  const { end } = editor.selection;
  const range = editor.document.sourceAt(end);
  if (!range) return;
  editor.focus();
  ghost.hide();
  list.ask(range);
}

function shuffle() {
  const start = humanSlice(nextStart(editor.document.text));
  if (isStart(editor.document.text)) {
    editor.edit(0, editor.document.length, start, "shuffle");
  } else {
    if (!opened.create("", [{ text: start.text, by: "human" }])) return;
    announcer.show("A new document with an example. Your text is in Documents.");
  }
  editor.focus();
  editor.select(editor.document.length);
}

const AS_TYPED = "Its Markdown signs stay as they are: only an exported page keeps who wrote what.";

async function importFile(file) {
  if (!file) return;
  try {
    const { title, spans } = await readFile(file);
    if (!opened.create(title, spans)) return;
    const plain = /\.(md|markdown)$/i.test(file.name) ? ` ${AS_TYPED}` : "";
    announcer.show(`Imported ${file.name} as a new document.${plain}`);
  } catch (error) {
    let reason = `${file.name} cannot be read: it is damaged.`;
    if (error instanceof TooLarge) reason = `${error.message}. Divide it.`;
    if (error instanceof NotText) reason = `${error.message}.`;
    announcer.show(reason, "error");
  }
}

let retry = 0;
let wait = 0; // milliseconds until models are asked for again

function startServer(asks = false) {
  sync.start();
  loadModels(asks);
}

async function loadModels(asks) {
  clearTimeout(retry);
  const nameless = () => editor.document.machine.filter(({ source }) => !source.model_hash).length;
  const before = nameless();
  try {
    await models.load(asks);
    wait = 0;
    // text from before the models were known has their names now, and is saved with them
    if (nameless() < before) editor.dispatchEvent(new CustomEvent("change", { detail: null }));
    panel.setModels(models.cards);
    editor.dispatchEvent(new Event("select"));
    inside.enable(preferences.values.inside);
  } catch (error) {
    if (error instanceof ServerAway) return; // the page says so itself, and when it is back
    if (wait === 0) context.failed(error);
    wait = Math.min(60000, wait * 2 || 2000);
    retry = setTimeout(loadModels, wait);
  }
}

$("inside").addEventListener("click", () => {
  preferences.set({ inside: !preferences.values.inside });
});
$("title").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) editor.focus();
});
$("undo").addEventListener("click", () => editor.undo());
$("redo").addEventListener("click", () => editor.redo());
$("shuffle").addEventListener("click", shuffle);
$("suggest").addEventListener("click", () => {
  editor.focus();
  ghost.hide();
  list.ask();
});
$("stop").addEventListener("click", () => {
  list.stop();
  ghost.hide();
  editor.focus(); // the keys of the list work on
  showState();
});
$("again").addEventListener("click", regenerate);
$("verify").addEventListener("click", () => verify.one());
$("verify-text").addEventListener("click", () => verify.all());
document.querySelectorAll(".compare").forEach((button) => {
  button.addEventListener("click", () => comparison.open());
});
document.querySelector(".read").addEventListener("click", () => {
  showSeen($("seen-dialog"), context);
});
$("import").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  importFile(file);
  $("file").value = "";
});
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // the browser would leave the page and show the file
    if (name === "drop") importFile(event.dataTransfer.files[0]);
  });
}
$("menu").addEventListener("click", ({ target }) => {
  const format = target.dataset.export;
  if (format) {
    download($("title").value, editor.document.slice(), format);
    opened.markExported();
  }
  $("menu").hidePopover();
});
for (const name of ["change", "select"]) editor.addEventListener(name, showState);
settings.addEventListener("change", () => models.learn().catch(context.failed));
opened.addEventListener("opened", () => panels.leave());
opened.addEventListener("state", () => {
  const title = $("title").value.trim();
  document.title = title ? `${title} – Write with GPT` : "Write with GPT";
});
opened.addEventListener("arrived", () => {
  // who went elsewhere meanwhile stays there
  const { activeElement: focused } = document;
  if (focused === document.body || focused.closest(".documents [aria-current]")) panels.leave();
});
opened.addEventListener("apart", () => {
  announcer.show("The same words were changed elsewhere. Yours are kept as a separate document.");
});
opened.addEventListener("deleted", () => {
  announcer.show("This document was deleted in another tab. What you write is a new one.");
});
opened.addEventListener("joined", () => announcer.say("Changes from elsewhere were added."));
opened.addEventListener("missing", () => {
  announcer.show("This document is not in this browser: open its edit link.", "error");
});
opened.addEventListener("unsaved", () => {
  announcer.show("No room to save this document: export it or delete another one first.", "error");
  $("menu").togglePopover(true);
});

opened.start();
panels.start();
editor.focus();
editor.select(editor.document.length);
startServer(true);
