// Looking again and again while a page is open. One look at a time; none while the tab is hidden.

/** Calls `look` now and after each pause that it gives (ms); resolves after the first look to what ends it. */
export async function poll(look) {
  let timer = 0;
  let isOver = false;
  const round = async () => {
    if (isOver) return;
    const pause = document.hidden ? 1000 : await look();
    if (!isOver) timer = setTimeout(round, pause);
  };
  await round();
  const end = () => {
    isOver = true;
    clearTimeout(timer);
  };
  /** Looks at once, since something was done. */
  end.now = () => {
    clearTimeout(timer);
    return round();
  };
  return end;
}
