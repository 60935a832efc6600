#!/usr/bin/env python3
"""python/parsec_nas.py, with NumPy and without, and the examples that use it.

    test_parsec_nas.py LIBRARY PROGRAM [--without-numpy]

--without-numpy: NumPy and pandas cannot be imported, whether or not they are there.
"""

import array
import contextlib
import ctypes
import io
import json
import math
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "python"
LIBRARY, PROGRAM = sys.argv[1:3]
WITHOUT = "--without-numpy" in sys.argv
if WITHOUT:
    sys.modules["numpy"] = sys.modules["pandas"] = None  # so that to import them fails
os.environ["PARSEC_NAS_LIBRARY"] = LIBRARY
sys.path.insert(0, str(ROOT / "python"))
sys.dont_write_bytecode = True

import parsec_nas as pn  # noqa: E402

try:
    import numpy as np
except ImportError:
    np = None

IMAGE, SIZE = (8, 8, 3), 8 * 8 * 3
CLASSES = 4
NORMALISED = {"mean": [0.5] * 3, "std": [0.25] * 3}
SMALL = {"layers": 2, "channels": 4, "batch": 8, "device": "cpu"}


def run(*arguments, **options):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{arguments}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def pixels(count, seed=1):
    """The bytes of `count` images, NHWC."""
    return bytes((seed * 7919 + i * i * 31 + i * 17) % 256 for i in range(count * SIZE))


def normalised(data):
    """The same as floats, as the library makes them."""
    value = array.array("f", ((v / 255 - 0.5) / 0.25 for v in range(256)))
    return array.array("f", (value[b] for b in data))


def planar(data):
    """NHWC as NCHW."""
    result = type(data)() if isinstance(data, bytes) else array.array(data.typecode)
    for at in range(0, len(data), SIZE):
        for channel in range(3):
            result += data[at + channel:at + SIZE:3]
    return result


def plain(rows):
    """Logits as lists."""
    return rows.tolist() if np is not None else rows


class Folder(unittest.TestCase):
    """With a folder, in which a search and a training were run by the program."""

    @classmethod
    def setUpClass(cls):
        cls._temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls._temporary.name)
        sizes = ["--data", "synthetic:60x8x8x3", "--layers", 2, "--channels", 4, "--batch", 8,
                 "--device", "cpu", "--quiet"]
        run(PROGRAM, "search", cls.folder / "search", *sizes, "--steps", 6, "--samples", 2)
        run(PROGRAM, "train", cls.folder / "train", *sizes, "--genotype", "PDARTS", "--epochs", 2,
            "--score-every", 2, "--cutout", 4)

    @classmethod
    def tearDownClass(cls):
        cls._temporary.cleanup()


# ---- the interface -------------------------------------------------------------------------------

def prototypes():
    """Every function of the header, in words that do not depend on how it is laid out."""
    text = (ROOT / "api" / "parsec_nas.h").read_text()
    text = re.sub(r"/\*.*?\*/|^\s*#.*?$", "", text, flags=re.S | re.M)
    found = re.findall(r"([\w *]+?\bparsec_nas_\w+\([^)]*\));", text)
    return [" ".join(f.split()).replace("( ", "(") for f in found]


class Interface(unittest.TestCase):
    def test_what_was_promised_is_still_there(self):
        """A function is never changed or removed: tests/python/abi.txt grows at its end."""
        promised = (ROOT / "tests" / "python" / "abi.txt").read_text().splitlines()
        self.assertEqual(sorted(prototypes()), sorted(p for p in promised if p[0] != "#"))

    def test_python_declares_what_the_header_does(self):
        kinds = {"int": ctypes.c_int, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64,
                 "double": ctypes.c_double, "char **": pn._OUT, "const char *": ctypes.c_char_p,
                 "double *": ctypes.POINTER(ctypes.c_double), "float *": ctypes.c_void_p,
                 "int64_t *": ctypes.POINTER(ctypes.c_int64), "const void *": ctypes.c_void_p,
                 "const int32_t *": ctypes.c_void_p}
        found = {}
        for prototype in prototypes():
            name, arguments = re.fullmatch(r"int parsec_nas_(\w+)\((.*)\)", prototype).groups() \
                if prototype.startswith("int") else ("", "")
            if not name or name == "abi":
                continue
            types = [re.sub(r"\w+$", "", a).strip() for a in arguments.split(", ")]
            found[name] = [pn._OUT if t.startswith("parsec_nas_") and t.endswith("**") else
                           ctypes.c_void_p if t.startswith("parsec_nas_") else kinds[t]
                           for t in types]
        self.assertEqual(found, pn._SIGNATURES)

    def test_codes(self):
        text = (ROOT / "api" / "parsec_nas.h").read_text()
        codes = {int(n) for n in re.findall(r"#define PARSEC_NAS_E\w+ +(\d+)", text)}
        self.assertEqual(codes, set(pn._errors))
        self.assertEqual(pn.ABI, int(re.search(r"PARSEC_NAS_ABI (\d+)", text).group(1)))

    def test_a_library_that_is_none(self):
        script = "import parsec_nas; parsec_nas.version()"
        for path in (__file__, "/nowhere.so", ctypes.util.find_library("m")):
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                                  env={**os.environ, "PARSEC_NAS_LIBRARY": path,
                                       "PYTHONPATH": str(ROOT / "python")})
            self.assertEqual(done.returncode, 1)
            self.assertIn("ImportError: cannot load libparsec-nas; PARSEC_NAS_LIBRARY=FILE",
                          done.stderr)


class WithoutTraining(unittest.TestCase):
    def test_version(self):
        self.assertIn(pn.version(), run(PROGRAM, "--version"))
        pn.threads(2)
        with self.assertRaises(pn.ArgumentError):
            pn.threads(0)

    def test_genotype(self):
        found = pn.genotype("DARTS_V2")
        self.assertEqual(found["normal"][3], [["skip_connect", 0], ["dil_conv_3x3", 2]])
        self.assertEqual(pn.genotype(found["genotype"]), found)
        with self.assertRaises(pn.ArgumentError) as caught:
            pn.genotype("nobody")
        self.assertIn("'nobody'", str(caught.exception))
        self.assertEqual(caught.exception.status, 2)
        self.assertIsInstance(caught.exception, ValueError)

    def test_plan(self):
        want = json.loads(run(PROGRAM, "plan", "--genotype", "PDARTS", "--network", "eval",
                              "--image", "20x30x1", "--share-slot", "--json"))
        self.assertEqual(pn.plan(genotype="PDARTS", network="eval", image=(20, 30, 1),
                                 share_slot=True, batch=None), want)
        with self.assertRaisesRegex(pn.ArgumentError, "layerz"):
            pn.plan(layerz=3)


class Distributions(Folder):
    def test_of_a_run(self):
        want = json.loads(run(PROGRAM, "sample", self.folder / "search", "--count", 4, "--json"))
        with pn.Distribution(self.folder / "search") as d:
            found = d.sample(4)
            self.assertEqual([r["genotype"] for r in found], [r["genotype"] for r in want])
            top = d.top(2)
            self.assertEqual(d.describe()["mode"], top[0])
            self.assertEqual(d.log_p(top[1]["genotype"]), top[1]["log_p"])
            self.assertGreaterEqual(top[0]["log_p"], top[1]["log_p"])
        with self.assertRaisesRegex(ValueError, "closed"):
            d.sample(1)
        d.close()

    def test_uniform(self):
        equal = ("normal s3@0 s3@0 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 "
                 "reduce mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1")
        self.assertAlmostEqual(pn.Distribution().log_p(equal), -50.2845, places=4)
        self.assertEqual(pn.Distribution(distinct=True).log_p(equal), -math.inf)

    def test_of_nothing(self):
        with self.assertRaises(pn.FileError) as caught:
            pn.Distribution(self.folder / "nothing")
        self.assertIsInstance(caught.exception, OSError)
        with self.assertRaises(pn.InputError):
            pn.Distribution(self.folder / "train")


# ---- arrays --------------------------------------------------------------------------------------

class Networks(Folder):
    def test_the_forms_of_images(self):
        data = pixels(5)
        floats = normalised(data)
        with pn.Trainer("DARTS_V2", IMAGE, CLASSES, **SMALL, **NORMALISED) as t:
            want = plain(t.predict(data))
            self.assertEqual((len(want), len(want[0])), (5, CLASSES))
            double = array.array("d", floats)
            forms = [bytearray(data), memoryview(data), array.array("B", data), floats, double,
                     memoryview(floats), memoryview(bytearray(data)).cast("B", (5, *IMAGE)),
                     memoryview(floats).cast("B").cast("f", (5, *IMAGE))]
            if np is not None:
                raw = np.frombuffer(data, np.uint8).reshape(5, *IMAGE)
                exact = np.frombuffer(floats, np.float32).reshape(5, *IMAGE)
                reverse = np.ascontiguousarray(exact[::-1])[::-1]  # not contiguous
                forms += [raw, exact, exact.astype(np.float64), reverse, exact.tolist()]
            for form in forms:
                self.assertEqual(plain(t.predict(form)), want)
            self.assertEqual(plain(t.predict(planar(data), layout="NCHW")), want)
            self.assertEqual(plain(t.predict(planar(floats), layout="NCHW")), want)
            self.assertEqual(plain(t.predict(data[:SIZE])), want[:1])
            self.assertEqual(plain(t.predict(b"")), [])
            if np is not None:
                self.assertEqual(plain(t.predict(raw[2])), want[2:3])
                self.assertEqual(plain(t.predict(exact.transpose(0, 3, 1, 2), layout="NCHW")), want)
                self.assertEqual(t.predict(raw).dtype, np.float32)

    def test_images_that_cannot_be(self):
        data = pixels(2)
        wrong = [(data[:-1], "an array of shape"), (array.array("i", [1]), "format 'i'"),
                 (memoryview(data).cast("B", (2, 8, 3, 8)), "want (8, 8, 3)"),
                 (memoryview(data).cast("B", (16, 24)), "an array of shape")]
        with pn.Trainer("DARTS_V2", IMAGE, CLASSES, **SMALL) as t:
            for images, words in wrong:
                with self.assertRaises(pn.ArgumentError) as caught:
                    t.predict(images)
                self.assertIn(words, str(caught.exception))
            with self.assertRaisesRegex(pn.ArgumentError, "layout 'HWC'"):
                t.predict(data, layout="HWC")
            with self.assertRaisesRegex(pn.ArgumentError, "mean and std"):
                t.predict(data)
            floats = normalised(pixels(8))
            for labels, words in (([0] * 7, "7 labels for 8 images"), ([0] * 7 + [4], "label 7"),
                                  ([0.5] * 8, "labels"), ([2**40] * 8, "labels")):
                with self.assertRaisesRegex(pn.ArgumentError, words):
                    t.step(floats, labels, 0.1)
            floats[3] = math.nan
            with self.assertRaisesRegex(pn.ArgumentError, "image 0"):
                t.step(floats, [0] * 8, 0.1)
        for settings, words in (({"layers": 0}, "--layers 0"), ({"epochs": 3}, "epochs")):
            with self.assertRaisesRegex(pn.ArgumentError, words):
                pn.Trainer("DARTS_V2", IMAGE, CLASSES, **settings)
        with self.assertRaises(pn.OutOfMemoryError):
            pn.Trainer("DARTS_V2", IMAGE, CLASSES, memory=1000, **SMALL)

    def test_training_and_its_weights(self):
        path = self.folder / "w.safetensors"
        labels = [i % CLASSES for i in range(8)]
        with pn.Trainer("DARTS_V2", IMAGE, CLASSES, names=list("abcd"), drop_path=True, **SMALL,
                        **NORMALISED) as t:
            self.assertEqual((t.image, t.classes, t.batch), (IMAGE, CLASSES, 8))
            losses = [t.step(pixels(8), labels, 0.05)[0] for _ in range(12)]
            self.assertLess(losses[-1], losses[0])
            t.step(pixels(8), labels, 0.05, drop_path=0.2)
            data = pixels(20, seed=3)
            classes = [i % CLASSES for i in range(20)]
            loss, accuracy = t.evaluate(data, classes)
            logits = plain(t.predict(data))
            want = sum(math.log(sum(math.exp(x) for x in row)) - row[k]
                       for row, k in zip(logits, classes)) / 20
            self.assertAlmostEqual(loss, want, places=9)
            self.assertEqual(accuracy, sum(row.index(max(row)) == k
                                           for row, k in zip(logits, classes)) / 20)
            self.assertEqual(t.describe()["step"], 13)
            t.save(path)
        with pn.Classifier(path, device="cpu") as c:
            self.assertEqual(plain(c.predict(data)), logits)
            self.assertEqual(c.names, list("abcd"))
            best = c.classify(data, top=2)
            self.assertEqual([len(b) for b in best], [2] * 20)
            for (name, p), row in zip((b[0] for b in best), logits):
                self.assertEqual(name, "abcd"[row.index(max(row))])
                self.assertTrue(0 < p <= 1)
        with self.assertRaises(pn.FileError):
            pn.Classifier(self.folder / "nothing.safetensors")

    def test_of_the_program(self):
        with pn.Classifier(self.folder / "train") as c:
            self.assertEqual(c.image, IMAGE)
            self.assertEqual(c.genotype, pn.genotype("PDARTS")["genotype"])
            self.assertEqual(len(c.predict(pixels(1))), 1)

    def test_a_search(self):
        batch = (pixels(8), [i % CLASSES for i in range(8)])
        with pn.Search(IMAGE, CLASSES, steps=4, warmup=1, samples=2, **SMALL, **NORMALISED) as s:
            self.assertEqual(s.step(batch)["val_loss"], None)
            report = s.step(batch, (pixels(8, 2), batch[1]))
            self.assertEqual(report["phase"], "search")
            self.assertEqual(len(report["samples"]), 2)
            with s.distribution() as d:
                self.assertAlmostEqual(d.describe()["entropy"], report["entropy"], places=12)
            with self.assertRaisesRegex(pn.ArgumentError, "valid"):
                s.step(batch)
            with self.assertRaisesRegex(pn.ArgumentError, "differ"):
                s.step(batch, (normalised(pixels(8)), batch[1]))
            s.step(batch, batch)
            s.step(batch, batch)
            with self.assertRaisesRegex(pn.ArgumentError, "4 steps"):
                s.step(batch, batch)

    def test_threads(self):
        data, found = pixels(16), [None] * 4
        with pn.Classifier(self.folder / "train", device="cpu") as c:
            want = plain(c.predict(data))

            def work(i):
                own = c if i % 2 else pn.Classifier(self.folder / "train", device="cpu")
                found[i] = [plain(own.predict(data)) for _ in range(5)]

            workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        self.assertEqual(found, [[want] * 5] * 4)


# ---- run directories -----------------------------------------------------------------------------

class Runs(Folder):
    def test_a_search(self):
        kinds = ["lists"] if np is None else ["lists", "numpy"]
        for tables in kinds:
            r = pn.read_run(self.folder / "search", tables)
            self.assertEqual(r["run"]["command"], "search")
            self.assertEqual(pn.genotype(r["genotype"])["genotype"], r["genotype"])
            self.assertEqual(list(r["metrics"]["step"]), list(range(6)))
            self.assertEqual(set(r["metrics"]["phase"]), {"warmup", "search"})
            d = r["distributions"]
            self.assertEqual(list(d["step"]), [int(s) for s in r["prior"]["step"]])
            op = d["normal.3.1.op"]
            self.assertEqual(op["choices"][2], "skip_connect")
            self.assertEqual(len(op["probability"]), len(d["step"]))
            for row in op["probability"]:
                self.assertAlmostEqual(sum(row), 1, places=4)
            with pn.Distribution(self.folder / "search") as learnt:
                p = learnt.describe()["probability"]
                for choice, last in zip(op["choices"], op["probability"][-1]):
                    self.assertAlmostEqual(p[f"normal.3.1.op.{choice}"], last, places=4)
        if np is not None:
            self.assertEqual(r["metrics"]["entropy"].dtype, np.float64)

    def test_a_training(self):
        r = pn.read_run(self.folder / "train", "lists")
        self.assertEqual(list(r["seeds"]), [1])
        self.assertEqual(r["results"]["seeds"][0]["seed"], 1)
        metrics = r["seeds"][1]["metrics"]
        self.assertEqual(metrics["epoch"], [1, 2])
        self.assertTrue(math.isnan(metrics["loss"][0]))  # not scored: missing, not 0
        self.assertFalse(math.isnan(metrics["loss"][1]))
        self.assertEqual(r["seeds"][1]["genotype"], pn.genotype("PDARTS")["genotype"])

    def test_the_usual_tables(self):
        kind = type(pn.read_run(self.folder / "search")["metrics"]).__name__
        self.assertIn(kind, ["dict"] if WITHOUT else ["dict", "DataFrame"])

    def test_a_run_at_work(self):
        half = self.folder / "half"
        half.mkdir()
        (half / "run.json").write_text("{}\n")
        (half / "metrics.csv").write_text("step,loss,what\n0,1.5,\n1,,x\n2,2.")
        table = pn.read_run(half, "lists")["metrics"]
        self.assertEqual(table["step"], [0, 1])
        self.assertEqual(table["what"], ["", "x"])
        self.assertTrue(table["loss"][0] == 1.5 and math.isnan(table["loss"][1]))

    def test_none(self):
        with self.assertRaisesRegex(pn.InputError, "no run.json"):
            pn.read_run(self.folder)
        with self.assertRaisesRegex(pn.ArgumentError, "tables='excel'"):
            pn.read_run(self.folder / "search", "excel")
        broken = self.folder / "broken"
        broken.mkdir()
        (broken / "run.json").write_text("{")
        with self.assertRaisesRegex(pn.InputError, "run.json"):
            pn.read_run(broken)


# ---- the examples --------------------------------------------------------------------------------

class Examples(Folder):
    def example(self, name, *arguments):
        """What it prints, by this Python, NumPy barred or not."""
        out = io.StringIO()
        source = (EXAMPLES / name).read_text()
        before, sys.argv = sys.argv, [name, *(str(a) for a in arguments)]
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(source, name, "exec"), {"__name__": "__main__"})
        finally:
            sys.argv = before
        return out.getvalue()

    def test_sample(self):
        self.assertIn("entropy 50.28 nats", self.example("sample.py"))
        cell = json.loads(run(PROGRAM, "sample", self.folder / "search", "--count", 1, "--json"))[0]
        self.assertIn(cell["short"], self.example("sample.py", self.folder / "search"))

    def test_plot_run(self):
        for folder in ("search", "train/seed-1"):
            text = self.example("plot_run.py", self.folder / folder)
            self.assertTrue(text.startswith("<svg") and text.endswith("</svg>\n"))
            self.assertIn("<polyline", text)
            self.assertNotIn("nan", text)

    @unittest.skipIf(np is None, "wants NumPy")
    def test_train_and_predict(self):
        weights = self.folder / "shapes.safetensors"
        text = self.example("train.py", weights)
        accuracy = float(re.search(r"accuracy ([\d.]+)%", text).group(1))
        self.assertGreater(accuracy, 90)  # three classes
        try:
            from PIL import Image
        except ImportError:
            self.skipTest("predict.py wants PIL")
        pictures = []
        noise = random.Random(1)
        shapes = {"square": [(4, 4, 11, 11)], "cross": [(3, 7, 12, 8), (7, 3, 8, 12)]}
        for name, boxes in shapes.items():
            picture = Image.frombytes("L", (16, 16), bytes(noise.choices(range(100), k=256)))
            for box in boxes:
                picture.paste(200, box)
            pictures.append(self.folder / f"{name}.png")
            picture.resize((48, 32), Image.NEAREST).save(pictures[-1])
        for line, path in zip(self.example("predict.py", weights, *pictures).splitlines(),
                              pictures):
            self.assertTrue(line.startswith(f"{path}: {path.stem} "), line)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
