// Building and updating the page. Everything said by others enters as text, never as markup.

const LONGEST_LINK = 1000;
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`class`, `title`, …) and children (elements or text). */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

/** Sets what differs; `null` takes an attribute away. */
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}

/** Sets text only where it differs, so that a selection in it survives. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Words by others: direction of their own, so that they cannot turn the line around them. */
export function setWords(node, words) {
  setAttributes(node, { dir: "auto" });
  node.classList.add("words");
  setText(node, words);
}

/**
 * Makes the children of `parent` one for each item, in order, keeping the elements of items that
 * stay: what is pointed at, selected or focused stays so.
 */
export function each(parent, items, keyOf, create, update) {
  const kept = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const child = kept.get(key) ?? create(item);
    kept.delete(key);
    child.dataset.key = key;
    update(child, item);
    return child;
  });
  for (const gone of kept.values()) gone.remove();
  let place = parent.firstElementChild;
  for (const child of wanted) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}

const partsOf = new WeakMap();

/** The parts of an element marked `data-part`, by name; looked up once. */
export function parts(node) {
  let found = partsOf.get(node);
  if (!found) {
    found = {};
    for (const part of node.querySelectorAll("[data-part]")) found[part.dataset.part] = part;
    partsOf.set(node, found);
  }
  return found;
}

/** A link to where a post can be read, with its host shown; `null` where it is no web address. */
export function webLink(url) {
  let address;
  try {
    address = new URL(url);
  } catch {
    return null;
  }
  if (address.protocol !== "https:" && address.protocol !== "http:") return null;
  // Before an @ a host can be pretended: https://bank.example@evil.example
  if (address.username || address.password || url.length > LONGEST_LINK) return null;
  return el(
    "a",
    { href: address.href, rel: "noopener noreferrer nofollow", target: "_blank", class: "host" },
    address.host,
  );
}
