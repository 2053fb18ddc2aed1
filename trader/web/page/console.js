// One console in one tab.  web_common.js, which comes with urwid, draws the frames and names the keys.
//
// The page sends {"type": "resize", "cols": N, "rows": N}, which is its first message, and {"type": "key", "key": NAME}.
// It receives frames, and JSON objects, see trader/ui/browser.py; after each of them it sends "shown".

"use strict";

// urwid draws no more than that.
const MAX_COLUMNS = 200;
const MAX_ROWS = 100;

// The console sends something each second.
const SILENT_MS = 4000;
const CUT_MS = 10000;
const RETRY_MS = [1000, 2000, 4000, 8000, 10000];
// How long a selection holds the frames.
const HELD_MS = 10000;
const FLASH_MS = 700;
const FLASHES = 14;

// The characters that fill two cells: those of trader/model/formatting.py:terminal_text that are wide.
const WIDE = /[\u2329-\u232a\u2e80-\u303e\u3041-\u3243\u3251-\ua4c6\uac00-\ufa6a\ufe30-\uff60\uffe0-\uffe6\u{20000}-\u{2fa1d}]/u;

const text = document.getElementById("text");
const notice = document.getElementById("notice");
const cell = document.getElementById("cell");

let socket = null;
let size = "";
let failures = 0;
let retry = null;
let lastMessage = 0;
let held = [];
let heldSince = 0;
let title = document.title;
let flash = null;
let sound = null;

// Connection.

function connect() {
    clearTimeout(retry);
    retry = null;
    const url = new URL(`stream?page=${pageName()}`, window.location.href);
    url.protocol = "ws:";
    const opening = new WebSocket(url);
    socket = opening;
    lastMessage = performance.now();
    opening.addEventListener("open", () => sendSize(true));
    opening.addEventListener("message", (event) => {
        if (socket === opening) {
            lastMessage = performance.now();
            take(event.data);
        }
    });
    opening.addEventListener("close", () => {
        if (socket === opening) {
            socket = null;
            lose();
        }
    });
}

// By this name the console knows where the page was, after a new connection or a reload.
function pageName() {
    try {
        if (sessionStorage.getItem("page") === null) {
            sessionStorage.setItem("page", crypto.randomUUID());
        }
        return sessionStorage.getItem("page");
    } catch (error) {
        // The browser keeps nothing for the page.
        return "";
    }
}

function send(message) {
    if (socket !== null && socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify(message));
    }
}

// A frame would replace the rows that the trader is about to copy.
function take(data) {
    if (!data.startsWith("{") && (held.length > 0 || isSelecting())) {
        if (held.length === 0) {
            heldSince = performance.now();
            tell("These figures stand still while text is selected");
        }
        held.push(data);
        return;
    }
    receive(data);
    acknowledge();
}

function acknowledge() {
    if (socket !== null && socket.readyState === WebSocket.OPEN) {
        socket.send("shown");
    }
}

function isSelecting() {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && text.contains(selection.anchorNode);
}

function release() {
    const frames = held;
    held = [];
    lastMessage = performance.now();
    for (const frame of frames) {
        receive(frame);
        acknowledge();
    }
}

function receive(data) {
    failures = 0;
    if (!data.startsWith("{")) {
        render_update(data.endsWith("\n") ? data.slice(0, -1) : data);
        text.childNodes.forEach(fitCells);
        tell("");
        return;
    }
    const message = JSON.parse(data);
    if (message.ground) {
        document.body.style.backgroundColor = message.ground;
        document.documentElement.style.backgroundColor = message.ground;
    }
    if (message.title) {
        title = message.title;
        showTitle("");
    }
    if (message.ring) {
        ring();
    }
    if (text.childNodes.length > 0 && held.length === 0) {
        tell("");
    }
}

async function lose() {
    const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    const again = `Trying again in ${wait / 1000} s`;
    held = [];
    tell(`trader-console is gone: these figures are not live. ${again}; if it was started again, open the URL that it printed`);
    retry = setTimeout(connect, wait);
    // Browsers do not tell why a WebSocket was refused.
    let status = 0;
    try {
        status = (await fetch("session", {cache: "no-store"})).status;
    } catch (error) {
        // Nothing answers.
    }
    if (socket !== null) {
        return;
    }
    if (status === 403) {
        clearTimeout(retry);
        retry = null;
        tell("trader-console was started again: open the URL that it printed. These figures are not live");
    } else if (status === 503) {
        tell(`Too many tabs show trader-console: close one. ${again}`);
    } else if (status === 204) {
        tell(`trader-console has closed this page, its terminal says why: these figures are not live. ${again}`);
    }
}

function watch() {
    if (held.length > 0) {
        if (performance.now() - heldSince > HELD_MS) {
            document.getSelection().removeAllRanges();
            release();
        }
        return;
    }
    const silent = performance.now() - lastMessage;
    if (socket === null || silent < SILENT_MS) {
        return;
    }
    tell(`trader-console has been silent for ${Math.floor(silent / 1000)} s: these figures are not live`);
    if (silent > CUT_MS) {
        const hanging = socket;
        socket = null;
        hanging.close();
        lose();
    }
}

// An empty sentence: all is well.
function tell(sentence) {
    if (notice.textContent === sentence && notice.hidden === (sentence === "")) {
        return;
    }
    notice.textContent = sentence;
    notice.hidden = sentence === "";
    document.body.classList.toggle("lost", sentence !== "");
    showTitle("");
}

// Title and bell.

function showTitle(sign) {
    document.title = `${sign}${notice.hidden ? "" : "NOT LIVE - "}${title}`;
}

function ring() {
    if (sound !== null && sound.state === "running") {
        const tone = sound.createOscillator();
        const volume = sound.createGain();
        tone.frequency.value = 880;
        volume.gain.value = 0.1;
        tone.connect(volume).connect(sound.destination);
        tone.start();
        tone.stop(sound.currentTime + 0.15);
    }
    let left = FLASHES;
    clearInterval(flash);
    showTitle("(!) ");
    flash = setInterval(() => {
        left -= 1;
        showTitle(left % 2 === 0 ? "(!) " : "");
        if (left <= 0) {
            clearInterval(flash);
            showTitle("");
        }
    }, FLASH_MS);
}

// Browsers allow sound only after the user has done something on the page.
function allowSound() {
    if (sound === null) {
        try {
            sound = new AudioContext();
        } catch (error) {
            // There is no device for it; the title has a sign.
            return;
        }
    }
    if (sound.state === "suspended") {
        sound.resume();
    }
}

// Cells.

function sendSize(isFirst) {
    const box = cell.getBoundingClientRect();
    const width = box.width / cell.textContent.length;
    const place = text.getBoundingClientRect();
    const columns = Math.floor((document.documentElement.clientWidth - 2 * place.left) / width);
    const rows = Math.floor((document.documentElement.clientHeight - place.top - place.left) / box.height);
    if (!(columns >= 1 && rows >= 1)) {
        return;
    }
    const cols = Math.min(columns, MAX_COLUMNS);
    const message = {type: "resize", cols: cols, rows: Math.min(rows, MAX_ROWS)};
    if (isFirst || size !== JSON.stringify(message)) {
        size = JSON.stringify(message);
        send(message);
    }
}

const fitted = new WeakSet();
const drawnWidths = new Map();
const pencil = document.createElement("canvas").getContext("2d");

// Put the characters that would leave their cells into boxes of one or two cells.
function fitCells(line) {
    if (fitted.has(line)) {
        return;
    }
    fitted.add(line);
    for (const span of [...line.querySelectorAll("span:not(.one):not(.two)")]) {
        if (/[^\x00-\x7f]/.test(span.textContent) && span.childElementCount === 0) {
            span.replaceChildren(...boxes(span.textContent));
        }
    }
}

function boxes(characters) {
    const parts = [];
    let plain = "";
    for (const character of characters) {
        if (fits(character)) {
            plain += character;
            continue;
        }
        if (plain !== "") {
            parts.push(document.createTextNode(plain));
            plain = "";
        }
        const box = document.createElement("span");
        box.className = WIDE.test(character) ? "two" : "one";
        box.textContent = character;
        parts.push(box);
    }
    if (plain !== "") {
        parts.push(document.createTextNode(plain));
    }
    return parts;
}

function fits(character) {
    if (character <= "\x7f") {
        return true;
    }
    if (!drawnWidths.has(character)) {
        const {fontFamily, fontSize} = getComputedStyle(text);
        const cells = WIDE.test(character) ? 2 : 1;
        drawnWidths.set(character, ["normal", "bold"].every((weight) => {
            pencil.font = `${weight} ${fontSize} ${fontFamily}`;
            return Math.abs(pencil.measureText(character).width - cells * pencil.measureText("M").width) < 0.01;
        }));
    }
    return drawnWidths.get(character);
}

// Keys.

// Keys with Ctrl, Alt and Meta, and F1 to F12, are the browser's, as is a paste.
function onKey(event) {
    allowSound();
    const isText = event.getModifierState("AltGraph") && event.key.length === 1;
    if (!isText && (event.ctrlKey || event.altKey || event.metaKey)) {
        return;
    }
    const name = key_name(event);
    if (name === null || /^f\d+$/.test(name) || socket === null) {
        return;
    }
    event.preventDefault();
    const isShifted = event.shiftKey && name !== event.key;
    send({type: "key", key: isShifted ? `shift ${name}` : name});
}

document.addEventListener("keydown", onKey);
document.addEventListener("pointerdown", allowSound);
document.addEventListener("selectionchange", () => {
    if (held.length > 0 && !isSelecting()) {
        release();
    }
});
document.addEventListener("paste", (event) => event.preventDefault());
window.addEventListener("resize", () => sendSize(false));
document.addEventListener("visibilitychange", () => {
    if (!document.hidden && retry !== null) {
        connect();
    }
});
// The token in the address has been used.
window.history.replaceState(null, "", window.location.pathname);
setInterval(watch, 1000);
connect();
