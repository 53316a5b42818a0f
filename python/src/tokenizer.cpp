// Tokenizers and chat templates: text in, ids out.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "bindings.h"
#include "python/requests.h"
#include "python/text_side.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

std::vector<std::vector<int32_t>> encode_all(const TextSide& side,
                                             const std::vector<std::string>& texts) {
  const nb::gil_scoped_release free;
  std::vector<std::vector<int32_t>> ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) ids.push_back(side.tokenizer().encode(text));
  return ids;
}

/// Throws Error for an id that the tokenizer does not have.
void check_known(const TextSide& side, const char* place, const std::vector<int32_t>& ids) {
  const int64_t size = side.tokenizer().vocab_size();
  for (const int32_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < size, place, ": expected ids from 0 to ", size - 1, ", found ",
                  id);
  }
}

std::string decode(const TextSide& side, const std::vector<int32_t>& ids, bool skips) {
  check_known(side, "decode: ids", ids);
  return side.tokenizer().decode(ids, skips);
}

nb::bytes token_bytes(const TextSide& side, int32_t id) {
  check_known(side, "token_bytes: id", {id});
  const std::string_view bytes = side.tokenizer().token_bytes(id);
  return nb::bytes(bytes.data(), bytes.size());
}

std::string render(TextSide& side, nb::handle messages, nb::handle options) {
  return side.render(json_of(messages, "messages"), json_of(options, "options"));
}

std::vector<int32_t> encode_chat_of(TextSide& side, nb::handle messages, nb::handle options,
                                    bool specials_in_messages) {
  return side
      .encode_chat(json_of(messages, "messages"), json_of(options, "options"), specials_in_messages)
      .ids;
}

}  // namespace

void bind_tokenizer(nb::module_& module) {
  nb::class_<TextSide>(module, "Tokenizer")
      .def_static("load", &TextSide::load, nb::call_guard<nb::gil_scoped_release>())
      .def("encode_all", &encode_all)
      .def("decode", &decode)
      .def("token_bytes", &token_bytes)
      .def("token_id", [](const TextSide& side,
                          const std::string& token) { return side.tokenizer().token_id(token); })
      .def("is_special",
           [](const TextSide& side, int32_t id) { return side.tokenizer().is_special(id); })
      .def_prop_ro("vocab_size", [](const TextSide& side) { return side.tokenizer().vocab_size(); })
      .def_prop_ro("bos_id", [](const TextSide& side) { return side.tokenizer().bos_id(); })
      .def_prop_ro("eos_id", [](const TextSide& side) { return side.tokenizer().eos_id(); })
      .def_prop_ro("chat_template_text", &TextSide::template_text)
      .def("render", &render)
      .def("encode_chat", &encode_chat_of)
      .def("stop_ids", &TextSide::stop_ids);
}

}  // namespace hypenet
