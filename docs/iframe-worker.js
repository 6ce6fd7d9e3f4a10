/* Pages that are opened from disk cannot start web workers. There, the search runs in a hidden frame. */
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inner = frame.contentWindow;
    const inside = this.inner.document;
    inside.open();
    inside.write("<!doctype html><title></title>");
    inside.close();
    this.inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    const script = inside.createElement("script");
    this.started = new Promise((resolve) => (script.onload = resolve));
    script.src = url;
    inside.head.append(script);
  }

  postMessage(data) {
    this.started.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
  }
}

if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = IFrameWorker;
}
