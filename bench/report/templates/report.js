"use strict";
// The page is complete without this: here tables learn to sort, pictures to open, and details to print.
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // ---- tables: every heading becomes a button

  const order = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.order !== undefined) return Number(cell.dataset.order);
    const text = cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what has no number goes last
    return a.localeCompare(b, undefined, { numeric: true });
  };

  const sort = (table, head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [order(row, column), row]);
    rows.sort(([a], [b]) => (down && typeof a === typeof b ? -compare(a, b) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const text = head.querySelector(".head");
      const button = make("button", { type: "button", className: "sort", title: "sort by this column" }, ...text.childNodes);
      button.addEventListener("click", () => sort(table, head, column));
      text.replaceWith(button);
    });
  }

  // ---- pictures: one dialog that shows a picture, or two of them with a slider between

  const viewer = document.getElementById("viewer");
  const figures = [...document.querySelectorAll("figure.picture")];

  if (viewer && figures.length) {
    const [first, second] = ["viewer-first", "viewer-second"].map((id) => document.getElementById(id));
    const stage = document.getElementById("viewer-stage");
    const slider = document.getElementById("viewer-slider");
    const caption = document.getElementById("viewer-caption");
    const name = (figure) => figure.dataset.name;

    const slide = () => {
      const above = stage.children[1];
      if (above) above.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
      stage.style.setProperty("--cut", `${slider.value}%`);
    };

    const show = () => {
      const chosen = [first, second].map((choice) => figures[Number(choice.value)]).filter(Boolean);
      stage.replaceChildren(...chosen.map((figure) => {
        const image = figure.querySelector("img");
        return make("img", { src: image.src, alt: image.alt });
      }));
      const two = chosen.length > 1;
      slider.parentElement.hidden = !two;
      stage.classList.toggle("two", two);
      caption.textContent = chosen.map((figure, index) => (two ? ["left: ", "right: "][index] : "") + name(figure))
        .join("; ");
      slide();
    };

    const open = (a, b) => {
      first.value = String(a);
      second.value = String(b);
      slider.value = "50";
      show();
      viewer.showModal();
    };

    figures.forEach((figure, index) => {
      first.append(make("option", { value: String(index) }, name(figure)));
      second.append(make("option", { value: String(index) }, name(figure)));
      const label = figure.querySelector("label");
      const button = make("button", { type: "button", className: "zoom" }, ...label.querySelectorAll("img, span"));
      button.setAttribute("aria-haspopup", "dialog");
      button.addEventListener("click", () => open(index, -1));
      label.replaceWith(button);
    });
    for (const choice of [first, second]) choice.addEventListener("change", show);
    slider.addEventListener("input", slide);
    document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
    viewer.addEventListener("click", (event) => {
      if (event.target === viewer) viewer.close();
    });

    const start = document.getElementById("compare");
    if (start && figures.length > 1) {
      const made = figures.filter((figure) => figure.dataset.made !== undefined);
      const pair = made.length > 1 ? [made[0], made.find((other) => other !== made[0] && other.dataset.made === made[0].dataset.made) || made[1]]
        : figures.slice(0, 2);
      start.hidden = false;
      start.addEventListener("click", () => open(...pair.map((figure) => figures.indexOf(figure))));
    }
  }

  // ---- a link into what is folded away unfolds it

  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", unfold);
  if (location.hash) unfold();

  // ---- what is folded away is on paper all the same

  const opened = [];
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      opened.push(details);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened.splice(0)) details.open = false;
  });
})();
