// Speed of the tokenizer on JSON lines: tokenizer_bench MODEL_FOLDER TEXT.jsonl [MEGABYTES]
// [benchmark flags]. The same documents go through the `tokenizers` library in
// peers/tokenizers_bench.py.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace {

/// The `text` fields of the first lines that hold `bytes` of text.
std::vector<std::string> read_documents(const std::string& path, size_t bytes) {
  const std::string file = hypenet::read_file(path);
  std::vector<std::string> documents;
  size_t total = 0;
  for (size_t at = 0; at < file.size() && total < bytes;) {
    const size_t end = std::min(file.find('\n', at), file.size());
    const auto line = hypenet::parse_json(std::string_view(file).substr(at, end - at), path);
    documents.push_back(line.at("text").get<std::string>());
    total += documents.back().size();
    at = end + 1;
  }
  return documents;
}

void encode(benchmark::State& state, const hypenet::Tokenizer& tokenizer,
            const std::vector<std::string>& documents) {
  int64_t bytes = 0, tokens = 0;
  for (auto _ : state) {
    for (const std::string& document : documents) {
      tokens += std::ssize(tokenizer.encode(document));
      bytes += std::ssize(document);
    }
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(tokens);
}

void decode(benchmark::State& state, const hypenet::Tokenizer& tokenizer,
            const std::vector<std::string>& documents) {
  std::vector<std::vector<int32_t>> ids;
  for (const std::string& document : documents) ids.push_back(tokenizer.encode(document));
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const auto& document : ids) bytes += std::ssize(tokenizer.decode(document));
  }
  state.SetBytesProcessed(bytes);
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  HYPENET_CHECK(argc == 3 || argc == 4,
                "usage: tokenizer_bench MODEL_FOLDER TEXT.jsonl [MEGABYTES]");
  const auto tokenizer = hypenet::Tokenizer::load(argv[1]);
  const size_t megabytes = argc == 4 ? std::stoul(argv[3]) : 4;
  const auto documents = read_documents(argv[2], megabytes * 1'000'000);
  const auto add = [&](const char* name, auto body) {
    benchmark::RegisterBenchmark(name, [&, body](benchmark::State& state) {
      body(state, tokenizer, documents);
    })->Unit(benchmark::kMillisecond);
  };
  add("encode", encode);
  add("decode", decode);
  benchmark::RegisterBenchmark("load", [&](benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(hypenet::Tokenizer::load(argv[1]));
  })->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
