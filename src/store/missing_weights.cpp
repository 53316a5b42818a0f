// Other forms of weights, by the names of their files.
#include "store/missing_weights.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSaveAgain =
    "PyTorch's form: save the model again with transformers' save_pretrained, which writes "
    "safetensors";

struct Form {
  std::string_view ending, what;
};

/// In the order of what helps most.
constexpr auto kForms = std::to_array<Form>({
    {".incomplete", "an unfinished download: start it again"},
    {".partial", "an unfinished write: make it again"},
    {"adapter_model.safetensors", "an adapter: merge it into its model first"},
    {"adapter_model.bin", "an adapter: merge it into its model first"},
    {".safetensors", "no whole model without model.safetensors.index.json: download that too"},
    {".safetensors.index.json", "an index of another name: rename it and its shards"},
    {".bin", kSaveAgain},
    {".pt", kSaveAgain},
    {".pth", kSaveAgain},
    {".ckpt", kSaveAgain},
    {".gguf", "llama.cpp's form: name the file in place of the folder"},
    {".h5", "TensorFlow's form: load it in transformers and save it again"},
    {".msgpack", "Flax's form: load it in transformers and save it again"},
});

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::string describe_other_weights(const fs::path& folder) {
  const std::vector<std::string> names = names_in(folder);
  for (const Form& form : kForms) {
    std::vector<std::string> found;
    std::ranges::copy_if(names, std::back_inserter(found), [&](const std::string& name) {
      return name.ends_with(form.ending) && name != "training_args.bin";
    });
    if (found.empty()) continue;
    const std::string others =
        found.size() == 1 ? "" : concat(" and ", found.size() - 1, " like it");
    return concat(found.front(), others, ", ", form.what);
  }
  std::error_code ignored;
  if (fs::exists(folder / "model" / "config.json", ignored)) return "a folder model: name that one";
  if (fs::exists(folder / "snapshots", ignored)) {
    return "a folder of the hub's cache: name the one in its snapshots";
  }
  return "";
}

}  // namespace hypenet
