// One libFuzzer program for all readers: hypenet_fuzz --target=NAME [libFuzzer's options] CORPUS.
// Without --target it lists them.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "fuzz/target.h"
#include "tests/support/temporary_folder.h"

namespace hypenet::fuzz {
namespace {

struct Row {
  std::string_view name;
  Target run;
};

constexpr std::array kTargets = {Row{"answer", read_answer},
                                 Row{"checkpoint", read_checkpoint},
                                 Row{"chat_template", read_chat_template},
                                 Row{"config", read_config},
                                 Row{"documents", read_documents},
                                 Row{"gguf", read_gguf},
                                 Row{"gzip", read_gzip},
                                 Row{"http", read_http},
                                 Row{"jinja", read_jinja},
                                 Row{"journal", read_journal},
                                 Row{"own_task", read_own_task},
                                 Row{"parquet", read_parquet},
                                 Row{"pattern", read_pattern},
                                 Row{"prefix", read_prefix},
                                 Row{"punkt", read_punkt},
                                 Row{"quantised_folder", read_quantised_folder},
                                 Row{"recipe", read_recipe},
                                 Row{"records", read_records},
                                 Row{"request", read_request},
                                 Row{"results", read_results},
                                 Row{"ruler", read_ruler},
                                 Row{"safetensors", read_safetensors},
                                 Row{"scores", read_scores},
                                 Row{"session", read_session},
                                 Row{"shards", read_shards},
                                 Row{"state", read_state},
                                 Row{"task", read_task},
                                 Row{"tokenizer", read_tokenizer}};

Target chosen = nullptr;

void choose(int count, char** arguments) {
  constexpr std::string_view kOption = "--target=";
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (!argument.starts_with(kOption)) continue;
    const auto* row = std::ranges::find(kTargets, argument.substr(kOption.size()), &Row::name);
    if (row != kTargets.end()) chosen = row->run;
  }
  if (chosen != nullptr) return;
  for (const Row& row : kTargets) std::puts(row.name.data());
  std::exit(1);
}

}  // namespace

const std::filesystem::path& folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

std::filesystem::path put(const std::filesystem::path& name, std::string_view bytes) {
  const std::filesystem::path path = folder() / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
  return path;
}

std::vector<std::string_view> parts(std::string_view input, size_t count) {
  constexpr std::string_view kCut = "\n---\n";
  std::vector<std::string_view> found(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t end = i + 1 < count ? std::min(input.find(kCut), input.size()) : input.size();
    found[i] = input.substr(0, end);
    input.remove_prefix(std::min(end + kCut.size(), input.size()));
  }
  return found;
}

void attempt(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    const std::string_view text = error.what();
    if (!text.empty() && text.find_first_of("\n\r") == text.npos) return;
    std::fprintf(stderr, "expected an error of one line, found:\n%s\n", error.what());
    std::abort();
  }
}

}  // namespace hypenet::fuzz

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  hypenet::fuzz::choose(*count, *arguments);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  hypenet::fuzz::attempt([&] { hypenet::fuzz::chosen(input); });
  return 0;
}
