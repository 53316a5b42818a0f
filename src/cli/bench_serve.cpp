// hypenet bench serve: load on a server of OpenAI's API, and the figures of vllm bench serve.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/descriptors.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/bench.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "serve/load/run.h"

namespace hypenet {
namespace {

constexpr int64_t kDefaultClients = 8, kDefaultRequests = 100, kManyRequests = 1'000'000;
constexpr int kNameColumns = 40, kColumns = 50;

struct BenchServe {
  LoadOptions load;
  std::string endpoint = "completions", prompt_tokens = "512", answer_tokens = "128", ids;
  std::string lines_file, key_file;
  std::vector<std::string> limits;
  std::optional<std::string> json;
  bool has_clients = false, has_requests = false;
};

/// The first line of the file, which may give the key a name.
std::string read_key(const std::string& path) {
  const std::string text = read_file(path);
  const std::string line = text.substr(0, text.find_first_of("\r\n"));
  return line.substr(line.find(':') + 1);
}

LoadOptions load_options(const BenchServe& flags) {
  LoadOptions load = flags.load;
  load.endpoint = flags.endpoint == "chat" ? LoadEndpoint::kChat : LoadEndpoint::kCompletions;
  load.prompt_tokens = LengthRange::parse(flags.prompt_tokens, "--prompt-tokens");
  load.answer_tokens = LengthRange::parse(flags.answer_tokens, "--answer-tokens");
  if (!flags.ids.empty()) load.ids = LengthRange::parse(flags.ids, "--ids");
  if (!flags.key_file.empty()) load.api_key = read_key(flags.key_file);
  if (!flags.lines_file.empty()) {
    load.lines = read_load_lines(read_file(flags.lines_file), flags.lines_file);
  }
  if (!flags.has_clients && load.rate == 0) load.clients = kDefaultClients;
  if (!flags.has_requests) {
    const int64_t drawn = load.seconds > 0 ? kManyRequests : kDefaultRequests;
    load.conversations = load.lines.empty() || load.seconds > 0 ? drawn : std::ssize(load.lines);
  }
  check(load);
  return load;
}

std::string progress_text(const LoadProgress& progress) {
  return fmt::format("bench serve: {}{} of {} requests, {} under way{}, {}",
                     progress.is_warm_up ? "warm-up, " : "", with_commas(progress.ended),
                     with_commas(progress.all), progress.under_way,
                     progress.failed > 0 ? fmt::format(", {} failed", progress.failed) : "",
                     readable_seconds(progress.seconds));
}

/// Each reason once, with how often it was.
void print_failures(const std::vector<RequestRecord>& records) {
  std::map<std::string, int64_t> reasons;
  for (const RequestRecord& record : records) {
    if (!record.error.empty()) ++reasons[record.error];
  }
  for (const auto& [reason, count] : reasons) {
    std::cerr << Error(fmt::format("bench serve: {} failed: {}", count, reason)).what() << '\n';
  }
}

void print_rows(const std::vector<LoadFigures::Row>& rows) {
  std::cout << fmt::format("{:=^{}}\n", " Serving Benchmark Result ", kColumns);
  for (const auto& [name, value] : rows) {
    std::cout << (value.empty() ? fmt::format("{:-^{}}\n", name, kColumns)
                                : fmt::format("{:<{}} {}\n", name, kNameColumns, value));
  }
  std::cout << std::string(kColumns, '=') << '\n';
}

void bench_serve(const BenchServe& flags) {
  const LoadOptions load = load_options(flags);
  std::vector<GoodputLimit> limits;
  for (const std::string& limit : flags.limits) limits.push_back(GoodputLimit::parse(limit));
  const std::vector<Output> outputs = {{"--json", flags.json}};
  check_outputs(outputs, {flags.lines_file, flags.key_file});
  raise_descriptor_limit();
  Progress progress;
  const LoadResult result = run_load(load, [&](const LoadProgress& now) {
    throw_if_interrupted();
    progress.show(progress_text(now));
  });
  progress.finish(fmt::format("bench serve: {} requests in {}", result.records.size(),
                              readable_seconds(result.seconds)));
  LoadFigures figures = figures_of(result.records, result.seconds, limits);
  figures.server_cpu_seconds = result.server_cpu_seconds;
  print_failures(result.records);
  print_rows(figures.rows(load.clients, load.rate));
  if (flags.json) write_json(*flags.json, figures.json());
  tell_written("bench serve", outputs);
  HYPENET_CHECK(figures.successful > 0, "bench serve: no request succeeded");
}

void add_load_options(CLI::App& command, LoadOptions& load) {
  command.add_option("URL", load.url, "http://HOST:PORT of the server")->required();
  command.add_option("--model", load.model, "model to ask for (the server's first)");
  command.add_option("--turns", load.turns, "requests of a conversation, each behind the last")
      ->capture_default_str();
  command.add_option("--rate", load.rate, "conversations begun a second, at random (all at once)");
  command
      .add_option("--burstiness", load.burstiness,
                  "1: Poisson; less: in bursts; more: evenly (gamma distribution)")
      ->capture_default_str();
  command.add_option("--shared-prefix", load.shared_prefix, "tokens in front of every prompt")
      ->capture_default_str();
  command.add_flag("--ignore-eos", load.ignores_end, "answers go on to their whole length");
  command.add_option("--temperature", load.temperature)->capture_default_str();
  command.add_option("--timeout", load.timeout, "seconds that a request may take")
      ->capture_default_str();
  command.add_option("--warm-up", load.warm_up, "requests before those that count")
      ->capture_default_str();
  command.add_option("--seed", load.seed, "of lengths, prompts and arrivals")
      ->capture_default_str();
}

}  // namespace

void add_bench_serve_command(CLI::App& bench) {
  const auto flags = std::make_shared<BenchServe>();
  CLI::App* command = bench.add_subcommand("serve", "load on a server, by many clients");
  add_load_options(*command, flags->load);
  command->add_option("--endpoint", flags->endpoint, "completions (prompts of ids) or chat")
      ->check(CLI::IsMember({"completions", "chat"}))
      ->capture_default_str();
  CLI::Option* clients = command->add_option(
      "--clients", flags->load.clients, "requests under way at once (8; with --rate: any number)");
  CLI::Option* requests = command->add_option("--requests", flags->load.conversations,
                                              "conversations in all (100, or a line each)");
  command->add_option("--seconds", flags->load.seconds, "no request is sent later than this");
  command->add_option("--prompt-tokens", flags->prompt_tokens, "N, or FIRST:LAST drawn evenly")
      ->capture_default_str();
  command->add_option("--answer-tokens", flags->answer_tokens, "N, or FIRST:LAST drawn evenly")
      ->capture_default_str();
  command->add_option("--lines", flags->lines_file,
                      "JSON lines with prompt, messages or prompt_tokens, and answer_tokens");
  command->add_option("--ids", flags->ids, "FIRST:LAST, ids of prompts (those of plain words)");
  command->add_option("--api-key-file", flags->key_file, "file whose first line is the key");
  command->add_option("--goodput", flags->limits, "limits of good requests: ttft:500 tpot:20");
  command->add_option("--json", flags->json, "the figures as JSON");
  command->footer(
      "Example:\n  hypenet bench serve http://127.0.0.1:8080 --clients 64 --requests 512 "
      "--prompt-tokens 512 --answer-tokens 128 --ignore-eos --goodput ttft:500 tpot:20");
  command->callback([flags, clients, requests] {
    flags->has_clients = clients->count() > 0;
    flags->has_requests = requests->count() > 0;
    bench_serve(*flags);
  });
}

}  // namespace hypenet
