"""What a page must have for everyone to use it, looked up in the open page: names of controls, contrast, landmarks, ids."""

CHECKS = r"""
() => {
  const faults = [];
  const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && node.getClientRects().length > 0;
  const modal = document.querySelector("dialog:modal");
  const inside = (node) => (!modal || modal.contains(node)) && !node.closest("[inert]") && !node.closest("[aria-hidden=true]");
  const all = (what) => [...document.querySelectorAll(what)].filter((node) => shown(node) && inside(node));
  const tell = (node, fault) => faults.push(`${node.nodeName.toLowerCase()}${node.id ? "#" + node.id : ""}.${node.className}: ${fault}`);
  const named = (ids) => ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const textOf = (node) => [...node.childNodes].map((child) => child.nodeType === 3 ? child.data
    : child.nodeType !== 1 || child.getAttribute("aria-hidden") === "true" ? "" : child.getAttribute("aria-label") ?? textOf(child)).join("");
  const nameOf = (node) => (node.getAttribute("aria-label") || named(node.getAttribute("aria-labelledby") ?? "") || textOf(node)
    || [...(node.labels ?? [])].map(textOf).join(" ")).trim();
  const field = (node) => (node.getAttribute("aria-label") || named(node.getAttribute("aria-labelledby") ?? "")
    || [...(node.labels ?? [])].map(textOf).join(" ")).trim();

  for (const node of all("button, a[href], [role=button], [role=tab], [role=menuitem], summary")) if (!nameOf(node)) tell(node, "a control without a name");
  for (const node of all("input, select, textarea, progress, [role=meter]")) if (!field(node)) tell(node, "a field without a label");
  for (const node of all("nav, [role=region], [role=group], dialog")) if (!field(node)) tell(node, "a landmark or group without a name");
  for (const node of all("button, select, input")) {
    const { width, height } = node.getBoundingClientRect();
    if (width < 24 && node.type !== "checkbox" || height < 18) tell(node, `too small to press: ${width} x ${height}`);
  }
  if (document.documentElement.lang === "") faults.push("html: no lang");
  if (document.querySelectorAll("main").length !== 1) faults.push("expected one main");
  if (document.querySelectorAll("h1").length !== 1) faults.push("expected one h1");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push(`two nodes with the id ${id}`);
  for (const name of ["aria-describedby", "aria-labelledby", "aria-controls"]) {
    for (const node of all(`[${name}]`)) {
      for (const id of node.getAttribute(name).split(/\s+/)) if (!document.getElementById(id)) tell(node, `${name} names ${id}, which is not there`);
    }
  }
  for (const node of all("pre, div")) {
    if (node.id !== "scroll" && node.scrollWidth > node.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(node).overflowX) && node.tabIndex < 0) {
      tell(node, "scrolls sideways and cannot be reached by keyboard");
    }
  }

  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], alpha: a / 255 };
  };
  const over = (top, alpha, below) => top.map((value, i) => value * alpha + below[i] * (1 - alpha));
  const ground = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      const { rgb, alpha } = parse(getComputedStyle(one).backgroundColor);
      layers.push([rgb, alpha]);
      if (alpha === 1) break;
    }
    return layers.reverse().reduce((below, [rgb, alpha]) => over(rgb, alpha, below), [255, 255, 255]);
  };
  const light = (rgb) => rgb.map((value) => value / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => { const [low, high] = [light(a), light(b)].sort((x, y) => x - y); return (high + 0.05) / (low + 0.05); };
  const check = (node, color, what) => {
    const below = ground(node), { rgb, alpha } = parse(color), style = getComputedStyle(node);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && +style.fontWeight >= 700);
    const found = contrast(over(rgb, alpha, below), below);
    if (found < (large ? 3 : 4.5)) tell(node, `contrast ${found.toFixed(2)} of ${what}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  let texts = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(node) || node.disabled || node.closest(".unseen, option, script, style") || !shown(node) || !inside(node)) continue;
    seen.add(node);
    ++texts;
    check(node, getComputedStyle(node).color, JSON.stringify(walker.currentNode.data.trim().slice(0, 30)));
  }
  for (const node of all("input, textarea")) if (node.placeholder) check(node, getComputedStyle(node, "::placeholder").color, "the placeholder");
  return { faults, texts };
}
"""


def faults_of(page):
    """One line a fault; a page of which nothing could be looked at is a fault too."""
    found = page.evaluate(CHECKS)
    return found["faults"] + ([] if found["texts"] else ["no text was looked at"])
