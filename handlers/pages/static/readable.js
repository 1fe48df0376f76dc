// Makes errors readable: of a page in HTML, only the text. The markup is removed before the browser could act on it.

const NAMES = "a|abbr|b|blockquote|center|code|div|em|font|h[1-6]|i|li|ol|p|pre|section|small|span|strong|table|tt|u|ul";
// Errors of programs contain text such as <class 'ValueError'> and List<B>, which is not markup.
const MARKUP = new RegExp(`<!doctype\\s+html|<(?:html|head|body|title)\\b|<(${NAMES})\\b[^>]*>[^]*?</\\1\\s*>|<[bh]r\\s*/?>`, "i");
const HIDDEN = /<!--[^]*?(?:-->|$)|<(script|style|template|title)\b[^]*?(?:<\/\1\s*>|$)/gi;
const INLINE = /<\/?(?:a|abbr|b|code|em|font|i|kbd|small|span|strong|sub|sup|tt|u)\b[^>]*>/gi;
const TAG = /<[/!?]?[a-z][^>]*(?:>|$)/gi; // the server cuts long errors off, also within a tag
const TITLE = /<title\b[^>]*>([^]*?)(?:<\/title\s*>|$)/i;

/**
 * The text of an error, with a line for each block of HTML. The title of the page comes first. An error without HTML is
 * returned unchanged.
 */
export function readable(error) {
  const begin = MARKUP.exec(error)?.index;
  if (begin === undefined) return error;
  const [before, page] = [error.slice(0, begin), error.slice(begin)];
  const lines = linesOf(decoded(before + page.replace(HIDDEN, "\n").replace(INLINE, "").replace(TAG, "\n")));
  const [title] = linesOf(decoded(TITLE.exec(page)?.[1].replace(/\s+/g, " ") ?? ""));
  const place = linesOf(before).length;
  // Pages often repeat the title as a heading.
  if (title && !lines[place]?.startsWith(title)) lines.splice(place, 0, title);
  return lines.join("\n") || "A page without text";
}

/** The error in one line. */
export const readableLine = (error) => linesOf(readable(error)).join(" ");

/** Replaces character references. A textarea contains no elements, so the browser does not interpret the text otherwise. */
function decoded(text) {
  const area = document.createElement("textarea");
  area.innerHTML = text.replaceAll("<", "&lt;");
  return area.value;
}

const linesOf = (text) => text.split("\n").map((line) => line.replace(/\s+/g, " ").trim()).filter(Boolean);
