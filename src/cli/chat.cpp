// hypenet chat: a conversation, turn by turn. History is kept as text and read anew each turn.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/model_folder.h"
#include "cli/numbers.h"
#include "engine/engine.h"
#include "text/chat_template.h"

namespace hypenet {
namespace {

constexpr const char* kHelp = R"(:stats   speed and memory of the last answer
:reset   forget the conversation
:quit    leave (so does the end of the input, and Ctrl-C twice)
Ctrl-C stops an answer.
)";

struct ChatCommand {
  ModelOptions model{.folder = {}, .type = kAutomaticType, .device = {}};
  std::string system, template_name;
  int64_t tokens = 1024;
  bool no_thinking = false;
  SamplingFlags sampling;
  MemoryFlags memory;
};

ChatTemplate open_template(const ChatCommand& command) {
  if (!command.template_name.empty()) return ChatTemplate::named(command.template_name);
  try {
    return ChatTemplate::load(command.model.folder);
  } catch (const Error& error) {
    throw Error(concat(error.what(), "; --template none, chatml or llama3 chooses one"));
  }
}

/// EOS and what ends a turn.
std::vector<int32_t> chat_stop_ids(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                                   const ChatTemplate& chat) {
  std::vector<int32_t> ids = stop_ids(checkpoint, tokenizer);
  if (chat.end_of_turn().empty()) return ids;
  const auto end = tokenizer.token_id(chat.end_of_turn());
  HYPENET_CHECK(end.has_value(), (checkpoint.folder() / "tokenizer.json").string(),
                ": expected the chat template's token ", chat.end_of_turn(), ", found none");
  ids.push_back(*end);
  return ids;
}

/// What was said, and how fast the last answer came.
class Conversation {
 public:
  Conversation(const ChatCommand& command, Engine& engine, const Tokenizer& tokenizer,
               ChatTemplate chat, GenerateOptions options)
      : engine_(engine),
        tokenizer_(tokenizer),
        template_(std::move(chat)),
        options_(std::move(options)),
        system_(command.system) {
    chat_options_.enable_thinking = !command.no_thinking;
    reset();
  }

  void reset() {
    history_.clear();
    if (!system_.empty()) history_.push_back({"system", system_});
  }

  /// Prints the answer as it comes. What does not fit is said, and forgotten.
  void ask(const std::string& text, const std::atomic<bool>& stop) {
    history_.push_back({"user", text});
    const std::vector<int32_t> prompt =
        tokenizer_.encode(template_.render(history_, chat_options_));
    int64_t sequence = 0;
    try {
      sequence = engine_.submit({prompt, options_});
    } catch (const Error& error) {
      history_.pop_back();
      const bool has_past = !history_.empty() && history_.back().role == "assistant";
      std::cerr << "hypenet: " << error.what()
                << (has_past ? "; :reset forgets the conversation" : "") << std::endl;
      return;
    }
    prompt_tokens_ = static_cast<int64_t>(prompt.size());
    last_ = stream_answer(engine_, tokenizer_, sequence, prompt_tokens_, stop);
    std::cout << std::endl;
    history_.push_back({"assistant", last_->text});
    ++options_.sampling.seed;  // the same question may have another answer
  }

  void print_stats() const {
    const EngineStats stats = engine_.stats();
    if (!last_) {
      std::cout << "no answer yet; states " << readable_bytes(stats.state_bytes) << std::endl;
      return;
    }
    const auto rate = [](int64_t tokens, double seconds) {
      return seconds > 0 ? fmt::format("{:.1f}", static_cast<double>(tokens) / seconds) : "-";
    };
    const int64_t held = prompt_tokens_ + last_->tokens;
    const int64_t cache = held * stats.page_bytes / EngineOptions().page_tokens;
    // The first token comes with the prompt.
    const int64_t decoded = std::max<int64_t>(last_->tokens - 1, 0);
    std::cout << fmt::format("prompt: {} tokens in {:.2f} s, {} tokens/s\n",
                             with_commas(prompt_tokens_), last_->prefill_seconds,
                             rate(prompt_tokens_, last_->prefill_seconds))
              << fmt::format("answer: {} tokens in {:.2f} s, {} tokens/s ({})\n",
                             with_commas(last_->tokens), last_->decode_seconds,
                             rate(decoded, last_->decode_seconds), to_string(last_->finish))
              << fmt::format("memory: KV {} for {} tokens, states {}\n", readable_bytes(cache),
                             with_commas(held), readable_bytes(stats.state_bytes))
              << std::flush;
  }

 private:
  Engine& engine_;
  const Tokenizer& tokenizer_;
  ChatTemplate template_;
  GenerateOptions options_;
  ChatOptions chat_options_;
  std::string system_;
  std::vector<ChatMessage> history_;
  std::optional<Answer> last_;
  int64_t prompt_tokens_ = 0;
};

/// False: the user leaves.
bool obey(const std::string& line, Conversation& conversation) {
  if (line == ":quit" || line == ":q") return false;
  if (line == ":help") {
    std::cout << kHelp << std::flush;
  } else if (line == ":stats") {
    conversation.print_stats();
  } else if (line == ":reset") {
    conversation.reset();
  } else {
    std::cout << "unknown command " << line << "; :help lists them" << std::endl;
  }
  return true;
}

void converse(Conversation& conversation) {
  const InterruptWatch watch = watch_interrupts();
  const bool is_terminal = ::isatty(STDIN_FILENO) == 1;
  LineReader reader(STDIN_FILENO, watch.descriptor);
  bool was_interrupted = false;
  std::string line;
  while (std::cout.good()) {
    if (is_terminal) std::cout << "> " << std::flush;
    const LineStatus status = reader.read(line);
    if (status == LineStatus::kEnd) break;
    if (status == LineStatus::kInterrupted) {
      take_interrupt();
      if (was_interrupted) break;
      was_interrupted = true;
      if (is_terminal) std::cout << "\n(Ctrl-C again, or :quit, leaves)" << std::endl;
      continue;
    }
    was_interrupted = false;
    if (line.empty()) continue;
    if (line[0] != ':') {
      conversation.ask(line, watch.flag);
      take_interrupt();  // it has ended the answer, and is no first one here
    } else if (!obey(line, conversation)) {
      return;
    }
  }
  if (is_terminal) std::cout << std::endl;
}

void chat(const ChatCommand& command) {
  HYPENET_CHECK(command.tokens > 0, "--tokens: expected at least 1, found ", command.tokens);
  GenerateOptions options;
  options.max_tokens = command.tokens;
  options.sampling = sampling_options(command.sampling, configured_sampling(command.model.folder));
  const EngineOptions memory = engine_options(command.memory, 1);
  const Checkpoint checkpoint(command.model.folder);
  ChatTemplate chat = open_template(command);
  Engine engine(open_model(command.model, checkpoint), memory);
  const Tokenizer tokenizer = open_tokenizer(command.model.folder, engine.config());
  options.stop_ids = chat_stop_ids(checkpoint, tokenizer, chat);
  if (::isatty(STDIN_FILENO) == 1) {
    std::cout << command.model.folder.string() << "; :help lists commands, Ctrl-C stops an answer"
              << std::endl;
  }
  Conversation conversation(command, engine, tokenizer, std::move(chat), std::move(options));
  converse(conversation);
}

}  // namespace

void add_chat_command(CLI::App& app) {
  const auto options = std::make_shared<ChatCommand>();
  CLI::App* command = app.add_subcommand("chat", "talk with a model, several turns");
  add_model_options(*command, options->model);
  command->add_option("--system", options->system, "the system message");
  command
      ->add_option("--template", options->template_name,
                   "none (plain continuation), chatml or llama3, instead of the folder's own")
      ->check(CLI::IsMember({"none", "chatml", "llama3"}));
  command->add_option("--tokens", options->tokens, "tokens of an answer at most")
      ->capture_default_str();
  command->add_flag("--no-thinking", options->no_thinking,
                    "Qwen3: answer without a thought before it");
  add_sampling_options(*command, options->sampling);
  add_memory_options(*command, options->memory);
  command->footer(
      "Sampling is that of generation_config.json where the folder has one.\n"
      "Example:\n  hypenet chat Qwen3-1.7B --system \"Be brief.\"\n"
      "  hypenet chat out/tiny/model --template none --tokens 60");
  command->callback([options] { chat(*options); });
}

}  // namespace hypenet
