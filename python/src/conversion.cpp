// hypenet.convert: progress and Ctrl-C on the caller's thread.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "python/conversion_call.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

nb::tuple convert(const ConvertSettings& settings, const nb::object& on_progress) {
  const OnConvertProgress report = [&on_progress](const ConvertProgress& progress) {
    const nb::gil_scoped_acquire lock;
    if (!on_progress.is_none()) on_progress(nb::cast(progress));
  };
  ConvertOutcome outcome;
  {
    const nb::gil_scoped_release free;
    outcome = run_conversion(settings, report, looking_for_signals());
  }
  return nb::make_tuple(outcome.model, outcome.report, outcome.table, python_of(outcome.results));
}

}  // namespace

void bind_conversion(nb::module_& module) {
  nb::class_<ConvertSettings>(module, "ConvertSettings")
      .def(nb::init<>())
      .def_rw("recipe", &ConvertSettings::recipe)
      .def_rw("resume", &ConvertSettings::resume)
      .def_rw("teacher", &ConvertSettings::teacher)
      .def_rw("data", &ConvertSettings::data)
      .def_rw("validation", &ConvertSettings::validation)
      .def_rw("text_field", &ConvertSettings::text_field)
      .def_rw("on_bad_document", &ConvertSettings::on_bad_document)
      .def_rw("settings", &ConvertSettings::settings)
      .def_rw("out", &ConvertSettings::out)
      .def_rw("from_step", &ConvertSettings::from)
      .def_rw("until", &ConvertSettings::until)
      .def_rw("device", &ConvertSettings::device)
      .def_rw("threads", &ConvertSettings::threads);
  nb::class_<ConvertProgress>(module, "ConvertProgress")
      .def_ro("kind", &ConvertProgress::kind)
      .def_ro("stage", &ConvertProgress::stage)
      .def_ro("text", &ConvertProgress::text)
      .def_ro("done", &ConvertProgress::done)
      .def_ro("total", &ConvertProgress::total)
      .def_ro("loss", &ConvertProgress::loss)
      .def_ro("learning_rate", &ConvertProgress::learning_rate)
      .def_ro("tokens_per_second", &ConvertProgress::tokens_per_second)
      .def_ro("seconds_left", &ConvertProgress::seconds_left);
  module.def("convert", &convert, nb::arg("settings"), nb::arg("on_progress").none());
}

}  // namespace hypenet
