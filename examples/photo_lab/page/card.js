// One photograph on the page: builds its card once, then changes only what an update changed.

import { RENDITIONS, isLocal, isOver, pickedUp, seconds } from "./model.js";

const BADGES = {
  uploading: "uploading", refused: "refused", scheduled: "waiting", ready: "waiting",
  running: "running", succeeded: "succeeded", failed: "failed", cancelled: "cancelled",
};
const ENDS = {
  succeeded: "succeeded in", failed: "failed after", crashed: "killed after", cancelled: "cancelled after",
  retry: "failed after", snoozed: "snoozed after", given_back: "given back after", running: "running for",
};
const TURNS = { 2: "mirrored", 3: "turned by 180°", 4: "flipped", 5: "turned", 6: "turned by 90°", 7: "turned", 8: "turned by 270°" };

export class Card {
  constructor(template, actions, single) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.single = single;
    const find = (name) => this.element.querySelector(`.${name}`);
    for (const name of ["preview", "name", "badge", "facts", "advance", "bar", "message", "error", "renditions",
      "palette", "timeline", "track", "again", "attempts", "log", "cancel", "retry", "dismiss", "second"]) this[name] = find(name);
    this.image = this.preview.querySelector("img");
    this.image.onerror = () => this.element.classList.remove("has-preview");
    this.cancel.onclick = () => actions.cancel(this.photo);
    this.retry.onclick = () => actions.retry(this.photo);
    this.dismiss.onclick = () => actions.dismiss(this.photo);
    this.#slots();
  }

  show(photo, kills, now) {
    this.photo = photo;
    const over = isOver(photo);
    this.element.dataset.state = photo.state;
    set(this.name, photo.name);
    this.name.title = photo.name;
    this.#badge(photo);
    this.cancel.hidden = over || isLocal(photo);
    this.retry.hidden = photo.state !== "failed" && photo.state !== "cancelled";
    this.dismiss.hidden = photo.state !== "refused";
    this.second.hidden = isLocal(photo) || this.single;
    if (!isLocal(photo)) this.second.href = `?job=${photo.id}`;
    for (const button of [this.cancel, this.retry, this.second]) {
      button.setAttribute("aria-label", `${button.textContent}: ${photo.name}`);
    }
    this.#preview(photo);
    this.#facts(photo);
    this.#advance(photo, now);
    this.#error(photo);
    this.#renditions(photo);
    this.#palette(photo);
    this.#timeline(photo, kills, now);
    if (this.single) this.#log(photo);
  }

  #slots() {
    this.slots = RENDITIONS.map(({ key }) => {
      const item = make("li", "slot");
      const link = make("a", "slot-picture");
      link.target = "_blank";
      link.rel = "noopener";
      item.append(link, make("span", "slot-words", key));
      this.renditions.append(item);
      return { item, link, words: item.lastElementChild };
    });
  }

  #badge(photo) {
    const again = photo.state === "running" && photo.attempt > 1;
    set(this.badge, BADGES[photo.state] + (again ? ` · attempt ${photo.attempt}` : ""));
    this.badge.dataset.state = BADGES[photo.state];
  }

  #preview(photo) {
    const file = photo.items[this.single ? "large" : "thumb"] ?? photo.items.small ?? photo.items.thumb;
    const url = file ? urlOf(photo, file) : photo.blob ?? "";
    if (this.image.getAttribute("src") !== url) {
      if (url) this.image.src = url;
      else this.image.removeAttribute("src");
      this.image.alt = url ? `${photo.name}, ${file ? "developed" : "as dropped"}` : "";
      this.element.classList.toggle("has-preview", Boolean(url));
    }
    const best = photo.items.large ?? file;
    if (best) this.preview.href = urlOf(photo, best);
    else this.preview.removeAttribute("href");
  }

  #facts(photo) {
    const original = photo.items.original;
    if (!original) return set(this.facts, "");
    const words = [`${original.width} × ${original.height} ${original.format}`];
    if (TURNS[original.orientation]) words.push(`${TURNS[original.orientation]}, upright now`);
    if (original.metadata?.length) words.push(`${listed(original.metadata)} stripped`);
    set(this.facts, words.join(" · "));
  }

  #advance(photo, now) {
    const { done = 0, total = 0, message = "" } = photo.progress ?? {};
    this.advance.hidden = photo.state === "refused" || isOver(photo);
    const share = total ? done / total : 0;
    this.bar.firstElementChild.style.width = `${Math.round(share * 100)}%`;
    this.bar.setAttribute("aria-valuenow", String(done));
    this.bar.setAttribute("aria-valuemax", String(total || 1));
    this.bar.setAttribute("aria-label", `Progress of ${photo.name}`);
    const wait = photo.dueAt && photo.dueAt > now ? `due again in ${seconds(photo.dueAt - now)}` : "waiting for a worker";
    const words = {
      uploading: "uploading", scheduled: wait,
      ready: photo.attempts.at(-1)?.outcome === "crashed" ? "waiting to be picked up again" : "waiting for its turn",
      running: `${message}${total && done < total ? ` · ${done} of ${total}` : ""}`,
    }[photo.state] ?? "";
    set(this.message, words);
  }

  #error(photo) {
    const error = photo.error;
    this.error.hidden = !error || photo.state === "running" || photo.state === "succeeded";
    if (this.error.hidden) return;
    const [what, why] = this.error.children;
    set(what, photo.state === "refused" ? "Not accepted." : photo.state === "failed" ? "It failed." : "The last attempt failed.");
    set(why, error.message || error.type || "No reason was given.");
  }

  #renditions(photo) {
    this.renditions.hidden = isLocal(photo);
    const original = photo.items.original;
    RENDITIONS.forEach(({ key, ratio }, index) => {
      const { item, link, words } = this.slots[index];
      const file = photo.items[key];
      const shape = file ? file.width / file.height : ratio ?? (original ? original.width / original.height : 1.5);
      link.style.aspectRatio = String(shape);
      if (file && !link.firstElementChild) {
        const picture = make("img");
        picture.src = urlOf(photo, file);
        picture.alt = `${key}, ${file.width} by ${file.height}`;
        link.href = picture.src;
        link.title = `${file.file} · ${file.width} × ${file.height} · ${size(file.bytes)}`;
        link.append(picture);
        item.classList.add("made");
        words.replaceChildren(key, make("small", "", `${file.width}×${file.height}`));
      } else if (!file && link.firstElementChild) {
        link.replaceChildren();
        link.removeAttribute("href");
        item.classList.remove("made");
        set(words, key);
      }
      item.hidden = !file && isOver(photo);
      const making = photo.state === "running" && photo.progress?.message === `making ${key}`;
      item.classList.toggle("making", !file && making);
    });
  }

  #palette(photo) {
    const colours = photo.items.original?.colours ?? [];
    this.palette.hidden = !colours.length;
    if (this.palette.childElementCount === colours.length) return;
    this.palette.replaceChildren(...colours.map(({ hex, share }) => {
      const swatch = make("li", "swatch");
      swatch.style.flexGrow = String(Math.max(share, 0.04));
      swatch.style.background = hex;
      swatch.style.color = isLight(hex) ? "#101418" : "#ffffff";
      swatch.title = `${hex}, ${Math.round(share * 100)} % of the picture`;
      swatch.append(make("span", "", hex));
      return swatch;
    }));
  }

  #timeline(photo, kills, now) {
    const attempts = photo.attempts;
    this.timeline.hidden = !attempts.length;
    if (!attempts.length) return;
    const from = attempts[0].started;
    const to = Math.max(...attempts.map((one) => one.ended ?? now), from + 1);
    match(this.track, attempts.length, () => make("span", "stretch"));
    const lines = [];
    let gap = null;
    attempts.forEach((one, index) => {
      const stretch = this.track.children[index];
      stretch.dataset.outcome = one.outcome;
      stretch.style.left = `${(100 * (one.started - from)) / (to - from)}%`;
      stretch.style.width = `${(100 * ((one.ended ?? to) - one.started)) / (to - from)}%`;
      const lasted = seconds(Math.max(0, (one.ended ?? now) - one.started));
      lines.push([`attempt ${one.attempt} ${ENDS[one.outcome] ?? one.outcome} ${lasted}`, one.outcome]);
      gap = pickedUp(photo, index, kills) ?? gap;
    });
    this.again.hidden = gap === null;
    if (gap !== null) set(this.again, `killed, picked up again after ${seconds(gap)}`);
    match(this.attempts, lines.length, () => make("li"));
    lines.forEach(([words, outcome], index) => {
      set(this.attempts.children[index], words);
      this.attempts.children[index].dataset.outcome = outcome;
    });
  }

  #log(photo) {
    this.log.hidden = !photo.log.length;
    const list = this.log.lastElementChild;
    if (Number(list.dataset.length) === photo.log.length && list.dataset.last === photo.position) return;
    list.dataset.length = photo.log.length;
    list.dataset.last = photo.position;
    list.replaceChildren(...photo.log.map(({ position, kind, at, words }) => {
      const line = make("li");
      const time = at ? new Date(at).toISOString().slice(11, 23) : "";
      line.append(make("span", "log-at", time), make("span", "log-kind", kind), make("span", "log-words", words), make("span", "log-position", position ?? ""));
      return line;
    }));
  }
}

export function make(tag, name = "", words = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (words) element.textContent = words;
  return element;
}

export function set(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function match(parent, count, build) {
  while (parent.childElementCount < count) parent.append(build());
  while (parent.childElementCount > count) parent.lastElementChild.remove();
}

const urlOf = (photo, file) => `lab/files/${photo.id}/${encodeURIComponent(file.file)}`;
const listed = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function isLight(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 145;
}
