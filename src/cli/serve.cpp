// hypenet serve: a model behind an OpenAI-compatible HTTP server (docs/serving.md).
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/descriptors.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "cli/commands.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/serve_model.h"
#include "cli/serve_store.h"
#include "model/length_note.h"
#include "serve/request_figures.h"
#include "serve/service.h"

namespace hypenet {
namespace {

constexpr int64_t kMostHostCache = int64_t{64} << 30;
constexpr int64_t kAutomatic = -1;
// On a CPU a step of one answer takes almost as long as one of many: the sooner prompts are read,
// the more answers share a step.
constexpr double kGpuDecodeShare = 0.5, kCpuDecodeShare = 0;

struct ServeCommand {
  ServeModelOptions model;
  MemoryFlags memory;
  ServeOptions service;
  std::vector<std::string> aliases, allowed_hosts, cors_origins;
  std::string reuse, log = "text";
  bool is_insecure = false;
  int64_t slots = 16, most_choices = 16;
  int64_t cache_device = kAutomatic, cache_host = kAutomatic, cache_disk = kAutomatic;
  std::filesystem::path cache_folder;  // empty: nothing outlives the server
  double request_timeout = 600;
  std::optional<double> decode_share;  // nullopt: by the device
};

ReuseMode reuse_mode(const std::string& name) {
  for (const auto mode : {ReuseMode::kExact, ReuseMode::kNearest, ReuseMode::kOff}) {
    if (name == to_string(mode)) return mode;
  }
  throw Error(concat("--reuse: expected exact, nearest or off, found ", name));
}

bool is_gpu(const ServeCommand& command) {
  const auto& devices = command.model.devices;
  const std::string& device = devices.empty() ? command.model.model.device.device : devices.front();
  return device.starts_with("cuda");
}

void check(const ServeCommand& command) {
  HYPENET_CHECK(command.slots > 0, "--slots: expected at least 1, found ", command.slots);
  HYPENET_CHECK(command.most_choices > 0, "--max-n: expected at least 1, found ",
                command.most_choices);
  HYPENET_CHECK(command.request_timeout > 0, "--request-timeout: expected over 0 s, found ",
                command.request_timeout);
  HYPENET_CHECK(command.log == "text" || command.log == "json",
                "--log: expected text or json, found ", command.log);
  HYPENET_CHECK(!command.cache_folder.empty() || command.cache_disk == kAutomatic,
                "--cache-disk: expected --cache-dir DIR beside it, found none");
  const bool is_open = command.service.key_file.empty() && !command.is_insecure;
  HYPENET_CHECK(is_loopback(command.service.http.host) || !is_open,
                "--host: expected --api-key-file FILE, or --insecure, beside an address that "
                "others reach, found neither");
}

EngineOptions serve_engine_options(const ServeCommand& command) {
  EngineOptions options = command.model.engine;
  const EngineOptions memory = engine_options(command.memory, command.slots);
  options.memory_bytes = memory.memory_bytes;
  options.max_context = memory.max_context;
  options.max_sequences = memory.max_sequences;
  options.decode_share =
      command.decode_share.value_or(is_gpu(command) ? kGpuDecodeShare : kCpuDecodeShare);
  if (!command.reuse.empty()) options.reuse = reuse_mode(command.reuse);
  const bool is_off = options.reuse == ReuseMode::kOff;
  options.cache_bytes = is_off ? 0 : command.cache_device;
  options.cache_host_bytes = is_off ? 0 : command.cache_host;
  if (!is_off && command.cache_host == kAutomatic) {
    options.cache_host_bytes =
        is_gpu(command) ? std::min(available_memory() / 4, kMostHostCache) : 0;
  }
  return options;
}

std::string made_for_text(const ServedModel& model) {
  const int64_t length = model.trained_length;
  return length > 0 ? fmt::format(" (the model was made for {})", with_commas(length)) : "";
}

/// What the start tells: how much is kept, of how many tokens, and when reuse cannot work.
std::string start_text(const OpenedModel& opened) {
  const EngineStats stats = opened.engines.front().stats();
  const auto& options = opened.engines.front().options();
  const ServedFolder& served = opened.served;
  std::string text = fmt::format(
      "hypenet: {} on {}, {} slots, {} tokens of context{}; a state is {}, a page of {} tokens "
      "{}\n",
      served.model.name, opened.facts.device, stats.slots, with_commas(served.model.context_length),
      made_for_text(served.model), readable_bytes(stats.state_bytes), options.page_tokens,
      readable_bytes(stats.page_bytes));
  if (const auto note = length_note("warning: context", served.model.context_length,
                                    opened.engines.front().config())) {
    text += concat("hypenet: ", *note, "\n");
  }
  const auto& cache = stats.cache;
  const int64_t device = cache.device.most_page_bytes + cache.device.most_snapshot_bytes;
  const int64_t host = cache.host.most_page_bytes + cache.host.most_snapshot_bytes;
  const int64_t pages = cache.device.most_page_bytes + cache.host.most_page_bytes;
  text += fmt::format(
      "hypenet: reuse {}, {}; kept prompts: {} on the device, {} on the host{}\n",
      to_string(served.model.reuse), opened.facts.grid, readable_bytes(device),
      readable_bytes(host),
      stats.page_bytes > 0
          ? fmt::format(", {} tokens", with_commas(pages / stats.page_bytes * options.page_tokens))
          : "");
  const int64_t snapshots = cache.device.most_snapshot_bytes + cache.host.most_snapshot_bytes;
  if (served.model.reuse == ReuseMode::kOff) {
    text += "hypenet: warning: --reuse off: every prompt is read from its beginning\n";
  } else if (stats.state_bytes > 0 && snapshots < stats.state_bytes) {
    text += fmt::format(
        "hypenet: warning: nothing can be reused: --cache-gpu and --cache-host leave {} for "
        "snapshots, one takes {}\n",
        readable_bytes(snapshots), readable_bytes(stats.state_bytes));
  }
  if (!served.chat) {
    text += "hypenet: no chat template in the folder: /v1/completions alone answers\n";
  } else {
    text += fmt::format("hypenet: chat template {}, tools {}\n", served.chat->family_name(),
                        to_string(served.tool_format));
  }
  return text;
}

std::string listening_text(const std::string& host, int port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("hypenet: listening on http://{}:{}\n", is_ipv6 ? "[" + host + "]" : host,
                     port);
}

/// The lines of a text, as the log has them.
std::string log_notes(const std::string& text, bool as_json) {
  std::string lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines += log_note(text.substr(begin, end - begin), as_json) + "\n";
    begin = end + 1;
  }
  return lines;
}

/// Hands signals on until the service ends.
void watch_signals(Service& service, const std::atomic<bool>& ended) {
  const auto& interrupted = interrupt_flag();
  bool was_told = false;
  int64_t hangups = hangup_count();
  while (!ended) {
    if (interrupted && !was_told) service.stop(), was_told = true;
    if (const int64_t now = hangup_count(); now != hangups) service.reload_keys(), hangups = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// On a thread of its own, with which OpenMP's that help it end: they wait for each other without
/// sleeping only while there are no more of them in the process than processors.
template <class Work>
auto on_own_thread(const Work& work) {
  return std::async(std::launch::async, work).get();
}

void serve(ServeCommand& command) {
  check(command);
  raise_descriptor_limit();
  command.model.engine = serve_engine_options(command);
  const bool keeps_on_disk = !command.cache_folder.empty() && command.reuse != "off";
  command.model.sums_weights = keeps_on_disk || !command.service.session_folder.empty();
  hangup_count();
  OpenedModel opened = on_own_thread([&] { return open_served(command.model); });
  ServedModel& model = opened.served.model;
  model.aliases = command.aliases;
  model.reuse = *opened.engines.front().options().reuse;
  model.request_timeout = command.request_timeout;
  model.most_choices = command.most_choices;
  ServeOptions options = command.service;
  options.access.allowed_hosts = {command.allowed_hosts.begin(), command.allowed_hosts.end()};
  options.access.cors_origins = {command.cors_origins.begin(), command.cors_origins.end()};
  options.logs_json = command.log == "json";
  options.session_facts = opened.facts;
  options.facts = write_fields(opened.facts);
  if (opened.facts.model.empty()) options.facts.erase("model");
  std::string about = start_text(opened);
  if (keeps_on_disk) {
    about += on_own_thread(
        [&] { return keep_on_disk(opened, command.cache_folder, command.cache_disk); });
  }
  Service service(std::move(opened.served), std::move(opened.engines), options,
                  [](const std::string& line) { std::cerr << line << std::endl; });
  std::cerr << log_notes(about + listening_text(options.http.host, service.port()),
                         options.logs_json)
            << std::flush;
  std::atomic<bool> ended = false;
  std::thread watcher([&] { watch_signals(service, ended); });
  service.run();
  ended = true;
  watcher.join();
}

void add_model_flags(CLI::App& command, ServeCommand& options) {
  add_model_options(command, options.model.model);
  command
      .add_option("--devices", options.model.devices, "several GPUs, an engine each: cuda:0,cuda:1")
      ->delimiter(',');
  command.add_option("--model-name", options.model.name,
                     "what requests call it (the folder's name)");
  command.add_option("--model-alias", options.aliases, "a further name; may be given again");
  command
      .add_option("--template", options.model.template_name,
                  "none, chatml or llama3, instead of the folder's own chat template")
      ->check(CLI::IsMember({"none", "chatml", "llama3"}));
  command
      .add_option("--tool-format", options.model.tool_format,
                  "hermes, llama3-json, qwen3-coder or none, instead of what the template shows")
      ->check(CLI::IsMember({"hermes", "llama3-json", "qwen3-coder", "none"}));
  command.add_flag("--template-specials-in-messages", options.model.specials_in_messages,
                   "special tokens in messages count, as in transformers");
}

void add_engine_flags(CLI::App& command, ServeCommand& options) {
  add_memory_options(command, options.memory);
  command.add_option("--slots", options.slots, "answers that are made side by side")
      ->capture_default_str();
  command.add_option("--reuse", options.reuse,
                     "of what was read before: exact (the same bits as without), nearest or off; "
                     "exact on a GPU, nearest on a CPU");
  const auto add_cache = [&](const char* flag, int64_t& bytes, const char* about) {
    command.add_option_function<std::string>(
        flag, [&bytes, flag](const std::string& text) { bytes = parse_bytes(text, flag); }, about);
  };
  add_cache("--cache-gpu", options.cache_device,
            "for kept prompts on the device, part of --memory (a quarter of what slots leave for "
            "snapshots of states, and every page that no answer needs)");
  add_cache(
      "--cache-host", options.cache_host,
      "for kept prompts in host memory (beside a GPU a quarter of what is free, at most 64G)");
  command.add_option("--cache-dir", options.cache_folder,
                     "folder of kept prompts that give way in memory, and at the end all; they are "
                     "known again at the next start");
  add_cache("--cache-disk", options.cache_disk,
            "for kept prompts in --cache-dir (half of what is free there, at most 64G)");
  command
      .add_option("--chunk", options.model.engine.prefill_chunk,
                  "tokens of a piece of a prompt at most (0: 8192 on a GPU, 256 on a CPU)")
      ->capture_default_str();
  command
      .add_option("--grid-min", options.model.engine.grid_min,
                  "tokens of a piece that ends where a turn begins, at least")
      ->capture_default_str();
  command.add_option("--decode-share", options.decode_share,
                     "of the time, for answers under way while prompts wait (0.5 on a GPU; 0 on a "
                     "CPU: a step after each piece of a prompt)");
}

void add_access_flags(CLI::App& command, ServeCommand& options) {
  ServeOptions& service = options.service;
  command.add_option("--host", service.http.host, "address to listen on")->capture_default_str();
  command.add_option("--port", service.http.port, "port to listen on; 0: a free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command.add_option("--api-key-file", service.key_file,
                     "keys, one a line, or name:key; SIGHUP reads it anew");
  command.add_flag("--insecure", options.is_insecure, "others may reach it without a key");
  command.add_option("--allow-host", options.allowed_hosts,
                     "a further name by which browsers may ask on loopback; may be given again");
  command.add_option("--cors-origin", options.cors_origins,
                     "a page elsewhere that may ask; may be given again");
  command.add_flag("--cache-per-key", service.salts_by_key,
                   "what was read is reused under the same key only");
}

void add_limit_flags(CLI::App& command, ServeCommand& options) {
  ServeOptions& service = options.service;
  command.add_option("--max-n", options.most_choices, "choices of a request at most")
      ->capture_default_str();
  command.add_option("--max-queue", service.limits.queue, "answers that may wait for a slot")
      ->capture_default_str();
  command.add_option("--queue-timeout", service.limits.queue_seconds, "seconds that one may wait")
      ->capture_default_str();
  command.add_option("--request-timeout", options.request_timeout, "seconds of an answer at most")
      ->capture_default_str();
  command
      .add_option("--drain", service.drain_seconds,
                  "seconds that running answers get after SIGTERM")
      ->capture_default_str();
  command.add_option_function<std::string>(
      "--max-body",
      [&service](const std::string& text) {
        service.http.limits.body_bytes = parse_bytes(text, "--max-body");
      },
      "of a request (16M)");
  command.add_option("--max-connections", service.http.limits.connections, "open at once")
      ->capture_default_str();
}

}  // namespace

void add_serve_command(CLI::App& app) {
  const auto options = std::make_shared<ServeCommand>();
  CLI::App* command =
      app.add_subcommand("serve", "an OpenAI-compatible HTTP server, and a page to chat on");
  add_model_flags(*command, *options);
  add_engine_flags(*command, *options);
  add_access_flags(*command, *options);
  add_limit_flags(*command, *options);
  ServeOptions& service = options->service;
  command->add_option("--session-dir", service.session_folder,
                      "folder of saved sessions; without it there are none");
  command->add_option("--log", options->log, "text or json: a line a request")
      ->capture_default_str();
  command->add_flag("--log-texts", service.limits.tells_texts,
                    "with the texts of prompt and answer");
  command
      ->add_option("--metrics-prefix", service.metrics_prefix,
                   "of the names in /metrics; vllm: suits its dashboards")
      ->capture_default_str();
  command->add_flag("--allow-cache-clear", service.allows_cache_clear,
                    "POST /v1/cache/clear forgets what was read, for measurements");
  command->footer(
      "Examples:\n  hypenet serve out/tiny/model --template none\n"
      "  hypenet serve out/qwen/model --device cuda --slots 64 --session-dir sessions");
  command->callback([options] { serve(*options); });
}

}  // namespace hypenet
