// A task's source in colours.

import { make } from "./card.js";

const PYTHON = /(#.*)|("""[\s\S]*?"""|f?"(?:\\.|[^"\\\n])*")|(@[\w.]+)|\b(def|return|for|in|if|not|continue|raise|with|as|class|async|await|from|import)\b|\b(\d[\d.]*)\b/g;
const PARTS = ["", "comment", "string", "decorator", "keyword", "number"];

export function colour(source) {
  const pieces = [];
  let end = 0;
  for (const found of source.matchAll(PYTHON)) {
    const kind = PARTS[found.findIndex((group, index) => index && group !== undefined)];
    pieces.push(source.slice(end, found.index), make("span", `py-${kind}`, found[0]));
    end = found.index + found[0].length;
  }
  return [...pieces, source.slice(end)];
}
