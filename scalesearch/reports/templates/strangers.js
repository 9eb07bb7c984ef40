"use strict";
// The command follows the boxes; without this script it stays as it was written.
const command = document.getElementById("command");
const boxes = [...document.querySelectorAll("input[data-folder]")];
const follow = () => {
  const left = boxes.filter((box) => !box.checked).map((box) => box.dataset.folder);
  command.textContent = command.dataset.start + (left.length ? ` --without ${left.join(",")}` : "");
};
for (const box of boxes) box.addEventListener("change", follow);
follow();
