"use strict";
(() => {
  const tip = document.getElementById("tip");
  const reach = 22; // pixels around the pointer in which a mark is found
  let pointed = null;

  const hide = () => {
    tip.hidden = true;
    if (pointed) pointed.classList.remove("pointed");
    pointed = null;
  };

  const nearest = (plot, x, y) => {
    let found = null;
    let least = reach * reach;
    for (const mark of plot.querySelectorAll("[data-tip]")) {
      const box = mark.getBoundingClientRect();
      const dx = Math.max(box.left - x, 0, x - box.right);
      const dy = Math.max(box.top - y, 0, y - box.bottom);
      const centre = (box.left + box.right) / 2 - x;
      const middle = (box.top + box.bottom) / 2 - y;
      // Of marks that overlap, the one whose centre is nearest.
      const far = dx * dx + dy * dy + (centre * centre + middle * middle) * 1e-3;
      if (far < least) [least, found] = [far, mark];
    }
    return found;
  };

  const show = (mark) => {
    if (mark !== pointed) {
      hide();
      pointed = mark;
      mark.classList.add("pointed");
      tip.textContent = mark.dataset.tip;
      // A modal dialog is above everything else but what is in it.
      (mark.closest("dialog") || document.body).append(tip);
      tip.hidden = false;
    }
    const box = mark.getBoundingClientRect();
    const width = tip.offsetWidth;
    const height = tip.offsetHeight;
    const left = Math.min(Math.max(8, (box.left + box.right - width) / 2), innerWidth - width - 8);
    const above = box.top - height - 10;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 10}px`;
  };

  const point = (event) => {
    const plot = event.target.closest ? event.target.closest("svg.plot") : null;
    const mark = plot && nearest(plot, event.clientX, event.clientY);
    if (mark) show(mark);
    else hide();
  };

  // In a plot that has the focus: from mark to mark, from left to right.
  const step = (event) => {
    const plot = event.target.closest ? event.target.closest("svg.plot") : null;
    if (!plot) return;
    if (event.key === "Escape" && pointed) {
      event.preventDefault(); // closes the words alone, not a dialog around the plot
      return hide();
    }
    const places = [...plot.querySelectorAll("[data-tip]")].map((mark) => {
      const box = mark.getBoundingClientRect();
      return { mark, x: box.left + box.right, y: box.top + box.bottom };
    });
    places.sort((a, b) => a.x - b.x || a.y - b.y);
    const at = places.findIndex((place) => place.mark === pointed);
    const last = places.length - 1;
    const next = {
      ArrowRight: Math.min(at + 1, last),
      ArrowLeft: at < 0 ? last : Math.max(at - 1, 0),
      Home: 0,
      End: last,
    }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    show(places[next].mark);
  };

  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("keydown", step);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, { passive: true, capture: true });

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        // Numbers begin with the largest, text with A.
        const numeric = head.classList.contains("num");
        const before = head.getAttribute("aria-sort");
        const first = numeric ? "descending" : "ascending";
        const second = numeric ? "ascending" : "descending";
        const order = before === first ? second : first;
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const value = (row) => {
          const cell = row.cells[column];
          if (!numeric) return cell.textContent;
          return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
        };
        const compare = (a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === null || y === null) return (x === null) - (y === null); // unknown comes last
          return sign * (numeric ? x - y : x.localeCompare(y, "en", { numeric: true }));
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }

  // Paper has no folds.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((fold) => { fold.open = false; }));

  const large = document.getElementById("large");
  const inside = large.querySelector(".body");
  const enlarge = (card) => {
    hide();
    inside.replaceChildren(...[...card.children].map((child) => child.cloneNode(true)));
    for (const plot of inside.querySelectorAll("svg.plot")) plot.setAttribute("tabindex", "0");
    large.showModal();
  };
  for (const card of document.querySelectorAll(".card")) {
    card.addEventListener("click", () => enlarge(card));
    card.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      enlarge(card);
    });
  }
  large.querySelector(".close").addEventListener("click", () => large.close());
  large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
  large.addEventListener("close", () => { hide(); document.body.append(tip); });
})();
