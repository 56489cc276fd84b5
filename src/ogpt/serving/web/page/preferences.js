/** How the page behaves and looks, whatever is written. */

const KEY = "ogpt.preferences";
const DEFAULTS = { ghost: false, tab: true, theme: "auto", inside: false };

export class Preferences {
  constructor(form, onChange) {
    this.values = { ...DEFAULTS, ...read() };
    this._onChange = onChange;
    const { ghost, tab, theme } = form.elements;
    ghost.checked = this.values.ghost;
    tab.checked = this.values.tab;
    theme.value = this.values.theme;
    form.addEventListener("change", () => {
      this.set({ ghost: ghost.checked, tab: tab.checked, theme: theme.value });
    });
    onChange(this.values);
  }

  set(changes) {
    Object.assign(this.values, changes);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.values));
    } catch {
      // a full disk is reported where documents are saved
    }
    this._onChange(this.values);
  }
}

function read() {
  try {
    const { ghost, tab, theme, inside } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    const known = ["auto", "light", "dark"].includes(theme);
    return {
      ghost: ghost === true,
      tab: tab !== false,
      theme: known ? theme : "auto",
      inside: inside === true,
    };
  } catch {
    return {};
  }
}
