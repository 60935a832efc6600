"""parsec_nas -- architecture search, training and prediction of parsec-nas, from Python.

One file over ctypes and the shared library libparsec-nas: no compiler, no other package. NumPy is
used where it is there; without it, images are any objects with a buffer (array.array, bytes,
memoryview), and logits come back as lists.

    import parsec_nas as pn

    print(pn.plan(genotype="DARTS_V2", network="eval", batch=96)["total_bytes"])
    with pn.Classifier("run/seed-1") as net:
        print(net.classify(images, top=3))  # images: uint8 (n, height, width, channels)

The library is looked for in PARSEC_NAS_LIBRARY (a file or a folder), beside this file, in the
build folder of the sources, in the tree that this file was installed in, and where the system has
its libraries. It is loaded when it is first needed: read_run needs none.

Settings have the names of the program's options, with _ for -. Whatever fails raises Error, or a
class below it, with one sentence that names the value at fault. Calls release Python's lock;
objects may be used from several threads, and calls on one object wait for each other. Processes
that are forked may not use what their parent has used: multiprocessing wants "spawn".

Python 3.9 or later.
"""

import array
import csv
import ctypes
import ctypes.util
import glob
import json
import math
import os

__all__ = [
    "ArgumentError", "BusyError", "Classifier", "DeviceError", "Distribution", "DivergedError",
    "Error", "FileError", "InputError", "OutOfMemoryError", "Search", "Trainer", "genotype", "plan",
    "read_run", "threads", "version",
]

ABI = 1  # PARSEC_NAS_ABI that this file was written for


# ---- errors --------------------------------------------------------------------------------------

class Error(Exception):
    """A call of the library failed. `status` is its code (parsec_nas.h), str() the sentence."""

    status = None


class ArgumentError(Error, ValueError):
    """An argument or setting that cannot be."""


class InputError(Error, ValueError):
    """A file that is wrong or damaged."""


class OutOfMemoryError(Error, MemoryError):
    """More memory than there is, or than the setting `memory` allows."""


class DeviceError(Error, RuntimeError):
    """The device failed or is not there."""


class FileError(Error, OSError):
    """Reading or writing failed."""


class DivergedError(Error, ArithmeticError):
    """NaN or infinity where a number was needed."""


class BusyError(Error, RuntimeError):
    """Somebody else holds a file."""


_errors = {2: ArgumentError, 3: InputError, 4: OutOfMemoryError, 5: DeviceError, 6: FileError,
           7: DivergedError, 8: BusyError}


# ---- the library ---------------------------------------------------------------------------------

_NAME = "libparsec-nas.so"
_library = None


def _in_folder(folder):
    """Files that may be the library, the one without a version first."""
    return [os.path.join(folder, _NAME)] + sorted(glob.glob(os.path.join(folder, _NAME + ".*")))


def _candidates():
    asked = os.environ.get("PARSEC_NAS_LIBRARY")
    if asked:
        return _in_folder(asked) if os.path.isdir(asked) else [asked]
    here = os.path.dirname(os.path.abspath(__file__))
    up = os.path.dirname(here)
    prefix = os.path.dirname(os.path.dirname(up))  # of PREFIX/share/parsec-nas/python
    folders = [here, os.path.join(up, "build")]
    for libraries in ("lib", "lib64", os.path.join("lib", "*-linux-gnu*")):
        folders += sorted(glob.glob(os.path.join(prefix, libraries)))
    files = [f for folder in folders for f in _in_folder(folder) if os.path.exists(f)]
    system = ctypes.util.find_library("parsec-nas")
    return files + ([system] if system else []) + [_NAME]


_HANDLE = ctypes.c_void_p
_OUT = ctypes.POINTER(ctypes.c_void_p)
_TEXT = ctypes.c_char_p
_SIGNATURES = {
    "genotype": [_TEXT, _OUT],
    "plan": [_TEXT, _OUT],
    "threads": [ctypes.c_int],
    "distribution_open": [_TEXT, ctypes.c_int, _OUT],
    "distribution_sample": [_HANDLE, ctypes.c_int64, ctypes.c_uint64, _OUT],
    "distribution_top": [_HANDLE, ctypes.c_int64, _OUT],
    "distribution_log_p": [_HANDLE, _TEXT, ctypes.POINTER(ctypes.c_double)],
    "distribution_describe": [_HANDLE, _OUT],
    "classifier_open": [_TEXT, _TEXT, _OUT],
    "classifier_describe": [_HANDLE, _OUT],
    "classifier_predict": [_HANDLE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p,
                           ctypes.c_int64],
    "trainer_create": [_TEXT, _OUT],
    "trainer_describe": [_HANDLE, _OUT],
    "trainer_step": [_HANDLE, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int64,
                     ctypes.c_double, ctypes.c_double, ctypes.POINTER(ctypes.c_double),
                     ctypes.POINTER(ctypes.c_int64)],
    "trainer_predict": [_HANDLE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p,
                        ctypes.c_int64],
    "trainer_evaluate": [_HANDLE, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int64,
                         ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64)],
    "trainer_save": [_HANDLE, _TEXT],
    "search_create": [_TEXT, _OUT],
    "search_step": [_HANDLE, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
                    ctypes.c_int, ctypes.c_int64, _OUT],
    "search_distribution": [_HANDLE, _OUT],
}


def _prepare(library):
    """Declares every function; raises AttributeError for what is no such library."""
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, "parsec_nas_" + name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    for name in ("distribution", "classifier", "trainer", "search"):
        close = getattr(library, f"parsec_nas_{name}_close")
        close.argtypes, close.restype = [_HANDLE], None
    library.parsec_nas_free.argtypes, library.parsec_nas_free.restype = [ctypes.c_void_p], None
    library.parsec_nas_error.restype = library.parsec_nas_version.restype = _TEXT
    return library


def _open_politely(path):
    """Opens a library whose threads soon sleep instead of spinning: on a machine that has other
    work too, that is up to ten times as fast. OpenMP reads its environment when it is loaded; who
    has set one of these has decided himself."""
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return ctypes.CDLL(path)
    os.environ["GOMP_SPINCOUNT"] = "20000"
    try:
        return ctypes.CDLL(path)
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _load():
    global _library
    if _library is not None:
        return _library
    reasons = []
    for path in _candidates():
        try:
            library = _open_politely(path)
            if library.parsec_nas_abi() < ABI:
                raise OSError(f"is older than this file: ABI {library.parsec_nas_abi()} < {ABI}")
            _library = _prepare(library)
            return _library
        except (OSError, AttributeError) as reason:
            reasons.append(f"{path}: {reason}")
    raise ImportError("cannot load libparsec-nas; PARSEC_NAS_LIBRARY=FILE says where it is. "
                      + "; ".join(reasons))


def _call(name, *arguments):
    library = _load()
    status = getattr(library, "parsec_nas_" + name)(*arguments)
    if status:
        error = _errors.get(status, Error)(
            library.parsec_nas_error().decode("utf-8", "replace"))
        error.status = status
        raise error


def _json(name, *arguments):
    """Calls a function whose last argument receives JSON text."""
    text = ctypes.c_void_p()
    _call(name, *arguments, ctypes.byref(text))
    try:
        return json.loads(ctypes.string_at(text.value).decode("utf-8"))
    finally:
        _load().parsec_nas_free(text)


def _text(value):
    return None if value is None else os.fsencode(value)


def _plain(value):
    """What JSON has no word for: NumPy's numbers and arrays."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _settings(given):
    named = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    return json.dumps(named, default=_plain).encode("utf-8")


class _Object:
    """A handle of the library: closed by close(), at the end of a with block, or when it goes."""

    _kind = None
    _handle = None

    def _take(self, name, *arguments):
        handle = ctypes.c_void_p()
        _call(name, *arguments, ctypes.byref(handle))
        self._handle = handle

    def _open(self):
        if self._handle is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle

    def close(self):
        """Gives its memory back; the object cannot be used any more. Twice is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            getattr(_library, f"parsec_nas_{self._kind}_close")(handle)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __del__(self):
        self.close()


# ---- arrays --------------------------------------------------------------------------------------

def _numpy():
    try:
        import numpy
        return numpy
    except ImportError:
        return None


_FORMATS = {("f", "NHWC"): 0, ("f", "NCHW"): 1, ("B", "NHWC"): 2, ("B", "NCHW"): 3}


def _buffer(images):
    """A contiguous memoryview of floats or bytes; float64 becomes float32."""
    numpy = _numpy()
    if numpy and (isinstance(images, (list, tuple, numpy.ndarray)) or hasattr(images, "__array__")):
        images = numpy.asarray(images)
        kind = numpy.uint8 if images.dtype == numpy.uint8 else numpy.float32
        images = numpy.ascontiguousarray(images, kind)
    view = memoryview(images)
    if view.format not in ("f", "B", "d"):
        raise ArgumentError(f"images of format {view.format!r}, want floats or unsigned bytes")
    if view.format == "d":
        view = memoryview(array.array("f", view.cast("B").cast("d")))
    return view


class _Images:
    """An array of images as the library takes it; keeps what it points into."""

    def __init__(self, images, layout, image):
        view = _buffer(images)
        height, width, channels = image
        size = height * width * channels
        if ("f", layout) not in _FORMATS:
            raise ArgumentError(f"layout {layout!r}, want 'NHWC' or 'NCHW'")
        one = (channels, height, width) if layout == "NCHW" else (height, width, channels)
        count = view.nbytes // view.itemsize
        if view.ndim in (3, 4) and view.shape[-3:] != one:
            raise ArgumentError(f"images of {view.shape[-3:]}, want {one}: this network's, "
                                f"{layout}")
        if view.ndim not in (1, 3, 4) or count % size:
            raise ArgumentError(f"an array of shape {view.shape}, want (n, {one[0]}, {one[1]}, "
                                f"{one[2]}), or n times {size} numbers")
        self.n = count // size
        self.format = _FORMATS[view.format, layout]
        if count == 0 or view.readonly or not view.c_contiguous:
            self._kept = view.tobytes()
            self.pointer = ctypes.cast(ctypes.c_char_p(self._kept), ctypes.c_void_p)
        else:
            self._kept = (ctypes.c_char * view.nbytes).from_buffer(view.cast("B"))
            self.pointer = ctypes.cast(self._kept, ctypes.c_void_p)


class _Labels:
    """Whole numbers as int32."""

    def __init__(self, labels, n):
        values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
        try:
            self._kept = array.array("i", values)
        except (TypeError, OverflowError) as error:
            raise ArgumentError(f"labels: {error}") from None
        if len(values) != n:
            raise ArgumentError(f"{len(values)} labels for {n} images")
        self.pointer = ctypes.c_void_p(self._kept.buffer_info()[0])


def _predict(name, handle, images, classes):
    """Logits: a NumPy array (n, classes), without NumPy a list of lists."""
    count = images.n * classes
    logits = (ctypes.c_float * count)()
    _call(name, handle, images.pointer, images.format, images.n, logits, count)
    numpy = _numpy()
    if numpy:
        return numpy.frombuffer(logits, numpy.float32, count).reshape(images.n, classes)
    return [list(logits[i * classes:(i + 1) * classes]) for i in range(images.n)]


def _softmax(logits):
    top = max(logits)
    powers = [math.exp(x - top) for x in logits]
    return [p / sum(powers) for p in powers]


# ---- what costs no training ----------------------------------------------------------------------

def version():
    """The version of the library, as "0.2.0"."""
    return _load().parsec_nas_version().decode()


def threads(count):
    """How many threads the calls of this thread use from now on. No result depends on it."""
    _call("threads", count)


def genotype(text):
    """An architecture as a dict: "genotype" (DARTS notation), "short", "normal" and "reduce".

    text: a published name (DARTS_V2, ...), either notation, a file, or a run directory. The two
    cells are lists of nodes, a node is two [op, input].
    """
    return _json("genotype", _text(text))


def plan(**settings):
    """What a network costs before it is made, as `parsec-nas plan --json`: a dict.

    plan(genotype="DARTS_V2", network="eval", batch=96)["total_bytes"]
    """
    return _json("plan", _settings(settings))


class Distribution(_Object):
    """A distribution over architectures: what a search has learnt, or the uniform one.

    path: a search's directory or checkpoint; None: uniform. distinct: the two inputs of a node
    differ.
    """

    _kind = "distribution"

    def __init__(self, path=None, distinct=False):
        self._take("distribution_open", _text(path), int(distinct))

    def sample(self, count=10, seed=1):
        """`count` draws: a list of dicts with "log_p" (nats), "genotype" and "short"."""
        return _json("distribution_sample", self._open(), count, seed)

    def top(self, count=10):
        """The same of the most probable, best first."""
        return _json("distribution_top", self._open(), count)

    def log_p(self, genotype):
        """The log-probability (nats) of an architecture; -inf if it cannot be drawn."""
        value = ctypes.c_double()
        _call("distribution_log_p", self._open(), _text(genotype), ctypes.byref(value))
        return value.value

    def describe(self):
        """A dict: "entropy" and "entropy_uniform" (nats), "mode", "distinct", "probability"."""
        return _json("distribution_describe", self._open())


# ---- networks ------------------------------------------------------------------------------------

class _Network(_Object):
    def describe(self):
        """What the network is, as a dict."""
        return _json(self._kind + "_describe", self._open())

    def _known(self):
        about = self.describe()
        self.image = tuple(about["image"])
        self.classes = about["classes"]
        self.names = about.get("names")
        self.genotype = about["genotype"]

    def predict(self, images, layout="NHWC"):
        """Logits (n, classes) of images, each of which depends on its image alone.

        images: (n, height, width, channels), or (n, channels, height, width) with layout="NCHW",
        or one image, or a flat buffer. uint8 is normalised as the weights say; floats are taken as
        they are. Gives a NumPy array, without NumPy a list of lists.
        """
        given = _Images(images, layout, self.image)
        return _predict(self._kind + "_predict", self._open(), given, self.classes)

    def classify(self, images, layout="NHWC", top=1):
        """For each image the `top` most probable classes, as a list of (name, probability).

        A class without a name has its number.
        """
        result = []
        for row in self.predict(images, layout):
            p = _softmax([float(x) for x in row])
            best = sorted(range(len(p)), key=lambda k: -p[k])[:top]
            result.append([(self.names[k] if self.names else k, p[k]) for k in best])
        return result


class Classifier(_Network):
    """Trained weights: image (height, width, channels), classes, names (or None), genotype.

    weights: a .safetensors file, or a directory made by `train`. device: "auto", "cpu", "cuda".
    """

    _kind = "classifier"

    def __init__(self, weights, device="auto"):
        self._take("classifier_open", _text(weights), _text(device))
        self._known()


class Trainer(_Network):
    """The evaluation network of one genotype, trained by steps on arrays.

    Trainer("DARTS_V2", image=(32, 32, 3), classes=10, layers=8, channels=16, batch=64, seed=1)

    Other settings: stem, momentum, decay, clip, smoothing, auxiliary, auxiliary_weight, pool_norm,
    drop_path (True: step may be given one), device, memory; and, for the weights that are saved,
    mean and std (a number a channel, of pixel / 255) and names.
    """

    _kind = "trainer"

    def __init__(self, genotype, image, classes, **settings):
        settings.update(genotype=os.fspath(genotype), image=list(image), classes=classes)
        self._take("trainer_create", _settings(settings))
        self._known()
        self.batch = self.describe()["batch"]

    def step(self, images, labels, rate, drop_path=0.0, layout="NHWC"):
        """One step of SGD on a batch: (loss in nats before it, images classified rightly)."""
        given = _Images(images, layout, self.image)
        targets = _Labels(labels, given.n)
        loss, correct = ctypes.c_double(), ctypes.c_int64()
        _call("trainer_step", self._open(), given.pointer, given.format, targets.pointer, given.n,
              rate, drop_path, ctypes.byref(loss), ctypes.byref(correct))
        return loss.value, correct.value

    def evaluate(self, images, labels, layout="NHWC"):
        """(mean loss in nats, accuracy 0 to 1) on any number of images."""
        given = _Images(images, layout, self.image)
        targets = _Labels(labels, given.n)
        loss, correct = ctypes.c_double(), ctypes.c_int64()
        _call("trainer_evaluate", self._open(), given.pointer, given.format, targets.pointer,
              given.n, ctypes.byref(loss), ctypes.byref(correct))
        return loss.value, correct.value / given.n

    def save(self, path):
        """Writes the weights to a .safetensors file, whole or not at all."""
        _call("trainer_save", self._open(), _text(path))


class Search(_Object):
    """A search over arrays, step by step.

    Search(image=(32, 32, 3), classes=10, steps=1000, batch=64, layers=8, channels=16, seed=1)

    Other settings as the options of `parsec-nas search`: rule, samples, warmup, rate, ...
    """

    _kind = "search"

    def __init__(self, image, classes, steps, **settings):
        settings.update(image=list(image), classes=classes, steps=steps)
        self._take("search_create", _settings(settings))
        self.image = tuple(image)

    def step(self, train, valid=None, layout="NHWC"):
        """One step: train and valid are (images, labels) of disjoint halves of the data.

        A batch that the step does not read may be None: valid in the warm-up and with
        rule="evidence", train with freeze_weights=True. Gives a dict of losses, accuracies, the
        entropy, and "samples", the architectures that were drawn.
        """
        arrays, pointers = [], []
        for pair in (train, valid):
            if pair is None:
                pointers += [None, None]
                continue
            given = _Images(pair[0], layout, self.image)
            targets = _Labels(pair[1], given.n)
            arrays.append((given, targets))
            pointers += [given.pointer, targets.pointer]
        kinds = {(given.format, given.n) for given, _ in arrays}
        if len(kinds) > 1:
            raise ArgumentError("train and valid differ in their type or number of images")
        form, n = kinds.pop() if kinds else (0, 0)
        return _json("search_step", self._open(), *pointers, form, n)

    def distribution(self):
        """A copy of the distribution as it is now."""
        copy = Distribution.__new__(Distribution)
        copy._take("search_distribution", self._open())
        return copy


# ---- run directories -----------------------------------------------------------------------------

def _number(text):
    """A cell as a number; an empty one is NaN. ValueError: it is text."""
    if not text:
        return math.nan
    try:
        return int(text)
    except ValueError:
        return float(text)


def _column(cells):
    try:
        return [_number(cell) for cell in cells]
    except ValueError:
        return list(cells)


def _read_table(path):
    """Columns by name, as lists; a last line that is still being written is left out."""
    with open(path, newline="", encoding="utf-8") as file:
        text = file.read()
    lines = list(csv.reader(text[:text.rfind("\n") + 1].splitlines()))
    if not lines:
        return {}
    head, rows = lines[0], [line for line in lines[1:] if len(line) == len(lines[0])]
    return {name: _column([row[i] for row in rows]) for i, name in enumerate(head)}


def _module(name):
    try:
        return __import__(name)
    except ImportError:
        return None


def _shaped(columns, tables):
    if tables == "pandas":
        return __import__("pandas").DataFrame(columns)
    if tables == "numpy":
        numpy = __import__("numpy")
        return {name: numpy.array(column) for name, column in columns.items()}
    return columns


def _distributions(columns, tables):
    """prior.csv by factors: the choices of each, and a row of probabilities for each step."""
    factors = {}
    for name in columns:
        if name != "step":
            factor, choice = name.rsplit(".", 1)
            factors.setdefault(factor, []).append(choice)
    result = {"step": columns.get("step", [])}
    for factor, choices in factors.items():
        rows = [list(row) for row in zip(*(columns[f"{factor}.{c}"] for c in choices))]
        result[factor] = {"choices": choices, "probability": rows}
    if tables != "lists":
        numpy = __import__("numpy")
        result["step"] = numpy.array(result["step"])
        for factor in factors:
            result[factor]["probability"] = numpy.array(result[factor]["probability"])
    return result


def read_run(directory, tables=None):
    """The files of a run directory (doc/runs.md) as a dict. No library is needed.

    "run" is run.json; "genotype" the text of genotype.txt, or None; "metrics", "samples", "prior",
    "truth" and "times" are the tables that are there. "distributions", of a search, has "step" and
    for each factor ("normal.0.1.op") its "choices" and "probability", (steps, choices). For the
    directory given to `train`, "results" is results.json, "seeds" a dict of number and run.

    tables: "pandas" (DataFrames), "numpy" (dicts of arrays) or "lists"; None: the first of them
    that can be imported. Missing values are NaN. A run at work may be read at any time.
    """
    if tables is None:
        tables = "pandas" if _module("pandas") else "numpy" if _module("numpy") else "lists"
    if tables not in ("pandas", "numpy", "lists"):
        raise ArgumentError(f"tables={tables!r}, want 'pandas', 'numpy' or 'lists'")
    directory = os.fspath(directory)
    seeds = sorted(glob.glob(os.path.join(glob.escape(directory), "seed-*", "run.json")))
    run = _read_json(directory, "run.json")
    if run is None and not seeds:
        raise InputError(f"{directory}: no run.json, so no run directory")
    result = {"run": run, "genotype": None}
    if seeds:
        folders = [os.path.dirname(s) for s in seeds]
        result["results"] = _read_json(directory, "results.json")
        result["seeds"] = {int(f.rsplit("-", 1)[1]): read_run(f, tables) for f in folders}
    path = os.path.join(directory, "genotype.txt")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            result["genotype"] = file.read().strip()
    for name in ("metrics", "samples", "prior", "truth", "times"):
        path = os.path.join(directory, name + ".csv")
        if not os.path.exists(path):
            continue
        columns = _read_table(path)
        result[name] = _shaped(columns, tables)
        if name == "prior":
            result["distributions"] = _distributions(columns, tables)
    return result


def _read_json(directory, name):
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
