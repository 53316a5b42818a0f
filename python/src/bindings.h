// What the files of the Python module share. The interpreter's lock is let go while C++ works, and
// taken to look for Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include "python/loaded_model.h"

namespace hypenet {

/// Each adds its part to the module.
void bind_tokenizer(nanobind::module_& module);
void bind_model(nanobind::module_& module);
void bind_measures(nanobind::module_& module);
void bind_conversion(nanobind::module_& module);

/// Throws what a signal's handler raised (KeyboardInterrupt), and runs `more` under the
/// interpreter's lock.
template <class More>
WhileWaiting looking_for_signals(More more) {
  return [more] {
    const nanobind::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
    more();
  };
}

inline WhileWaiting looking_for_signals() {
  return looking_for_signals([] {});
}

/// A DLPack capsule, which frees the tensor unless somebody takes it.
nanobind::object capsule_of(DLManagedTensor* tensor);

/// JSON as Python has it: bool, int, float, str, list, dict, None. Throws Error naming `place` for
/// anything else.
Json json_of(nanobind::handle value, const char* place);
nanobind::object python_of(const Json& json);

}  // namespace hypenet
