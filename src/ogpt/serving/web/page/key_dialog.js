/** Asks for the API key of the server, once: it stays in this browser. */

export function keyDialog(dialog) {
  const field = dialog.querySelector("input");
  return (wrong) =>
    new Promise((resolve) => {
      dialog.querySelector(".wrong").hidden = !wrong;
      field.value = "";
      dialog.returnValue = "";
      dialog.addEventListener(
        "close",
        () => resolve(dialog.returnValue === "ok" ? field.value.trim() : null),
        { once: true },
      );
      dialog.showModal();
    });
}
