"""How the pages become a site: every page is executed, and whatever is not right is an error."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # reference_pages

import fnet  # noqa: E402

project = "fnet"
copyright = "The fnet developers"
version = release = fnet.__version__

extensions = [
    "myst_nb",
    "example_pages",
    "page_runs",
    "reference_pages",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "trials.md"]

# Pages: Markdown whose cells are executed, each page in a process and a folder of its own.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120  # seconds a cell
nb_merge_streams = True
nb_code_prompt_show = "Show the answer"
nb_code_prompt_hide = "Hide the answer"

# What the processes of pages start with.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
os.environ["IPYTHONDIR"] = str(HERE / "_build" / "ipython")
profile = HERE / "_build" / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text(
    "c = get_config()\n"
    "c.IPKernelApp.matplotlib = 'inline'\n"
    "c.InlineBackend.figure_formats = {'retina'}\n"
)

# Reference: Google's sections in docstrings; a name in backticks is a link if fnet has it.
default_role = "py:obj"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_param = False  # "mesh, shardings: as for train" stays one entry
napoleon_use_rtype = False
add_module_names = False

# The package brings MathJax and its fonts, so formulas need no network; as an extension it would
# keep Sphinx from reading pages in parallel.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin)
mathjax_path = "mathjax/tex-chtml.js"

html_theme = "furo"
html_title = "fnet"
html_copy_source = False
html_static_path = ["static", str(MATHJAX.parent / "static")]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
