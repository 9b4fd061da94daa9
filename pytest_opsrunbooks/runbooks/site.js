"use strict";
// Everything works without this; it adds copying, the menu on a narrow screen, and finding.
for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.closest(".block").querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// From the disk there is no server that would open a folder's index.html.
if (location.protocol === "file:") {
  for (const link of document.querySelectorAll("a[href]")) {
    const [path, anchor] = link.getAttribute("href").split("#");
    if (path.endsWith("/") && !path.includes(":")) {
      link.setAttribute("href", path + "index.html" + (anchor === undefined ? "" : "#" + anchor));
    }
  }
}

const menu = document.getElementById("menu");
const menuButton = document.getElementById("menu-button");
menuButton.hidden = false;
document.body.classList.add("with-script");
menuButton.addEventListener("click", () => {
  const open = menu.classList.toggle("open");
  menuButton.setAttribute("aria-expanded", String(open));
});

const find = document.getElementById("find");
find.parentElement.hidden = false;
find.addEventListener("input", () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const entry of menu.querySelectorAll("li")) {
    entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
    if (!entry.hidden) shown += 1;
  }
  document.getElementById("none").hidden = shown > 0;
});
