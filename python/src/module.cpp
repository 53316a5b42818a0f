// The module hypenet._native: everything that the package's Python files stand on.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "base/version.h"
#include "bindings.h"
#include "halo/select.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

std::vector<int64_t> selected_layers(const std::filesystem::path& scores, const std::string& rule,
                                     int64_t keep) {
  return select_layers(read_scores(scores), parse_selection_rule(rule), keep);
}

/// libtorch's own exceptions have a line and then the way to it.
void translate(const std::exception_ptr& error, void* type) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    PyErr_SetString(static_cast<PyObject*>(type), known.what());
  } catch (const nb::builtin_exception&) {
    throw;
  } catch (const nb::python_error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& other) {
    const std::string text = other.what();
    PyErr_SetString(static_cast<PyObject*>(type), text.substr(0, text.find('\n')).c_str());
  }
}

}  // namespace

nb::object capsule_of(DLManagedTensor* tensor) {
  constexpr const char* kName = "dltensor";
  const auto free = [](PyObject* capsule) {
    if (PyCapsule_IsValid(capsule, "dltensor") == 0) return;  // taken
    free_tensor(static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor")));
  };
  return nb::steal(PyCapsule_New(tensor, kName, free));
}

}  // namespace hypenet

NB_MODULE(_native, module) {
  using namespace hypenet;
  nanobind::object error = nanobind::steal(
      PyErr_NewExceptionWithDoc("hypenet.Error",
                                "A failure in one line: the place, what was expected and what was "
                                "found.",
                                PyExc_RuntimeError, nullptr));
  module.attr("Error") = error;
  nanobind::register_exception_translator(translate, error.release().ptr());
  module.def("version", &version);
  module.def("source_commit", &source_commit);
  module.def("select", &selected_layers);
  bind_tokenizer(module);
  bind_model(module);
  bind_measures(module);
  bind_conversion(module);
}
