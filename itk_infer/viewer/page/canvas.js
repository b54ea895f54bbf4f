"use strict";
// All that this page asks of NiiVue 0.69; another version of it changes this file only.

// eslint-disable-next-line no-unused-vars
class VolumeCanvas {
  constructor(onPlace) {
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.5],
      crosshairWidth: 0.3,
      crosshairWidthUnit: "mm",
      isRadiologicalConvention: true, // the patient's right is on the left
      sagittalNoseLeft: true,
      isNearestInterpolation: false,
      isColorbar: false,
      dragAndDropEnabled: false,
      multiplanarShowRender: 0,
      loadingText: "",
      logLevel: "error",
      clipPlaneHotKey: "",
      viewModeHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    this.nv.onLocationChange = (place) => onPlace([...place.mm].slice(0, 3), place.values.map((item) => item.value));
    this.parts = [];
  }

  async attach(canvas) {
    await this.nv.attachToCanvas(canvas);
    this.nv.setSliceType(this.nv.sliceTypeMultiplanar);
  }

  // Shows volumes, the first one below; parts: {name, url}.
  async show(parts) {
    this.parts = [];
    await this.nv.loadVolumes(parts.map(({ name, url }) => ({
      url,
      name: `${name}.nii`,
      colormap: name === "uncertainty" ? "inferno" : "gray",
      opacity: name === "uncertainty" ? 0 : 1,
      trustCalMinMax: true,
    })));
    this.parts = parts.map((part) => part.name);
  }

  // Colours by value; labels: [{value, rgb}], hidden: a set of values.
  color(labels, hidden) {
    const at = this.parts.indexOf("labels");
    if (at < 0) return;
    const all = [{ value: 0, rgb: [0, 0, 0] }, ...labels.filter((label) => label.value > 0)];
    this.nv.volumes[at].setColormapLabel({
      R: all.map((label) => label.rgb[0]),
      G: all.map((label) => label.rgb[1]),
      B: all.map((label) => label.rgb[2]),
      A: all.map((label) => (label.value === 0 || hidden.has(label.value) ? 0 : 255)),
      I: all.map((label) => label.value),
      labels: all.map(() => ""),
    });
    this.nv.updateGLVolume();
  }

  setOpacity(part, opacity) {
    const at = this.parts.indexOf(part);
    if (at >= 0) this.nv.setOpacity(at, opacity);
  }

  setSolid(on) {
    this.nv.opts.multiplanarShowRender = on ? 1 : 0;
    this.nv.drawScene();
  }

  moveTo(xyz) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(xyz);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }
}
