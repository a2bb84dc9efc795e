require("codecompanion").setup({
  adapters = {
    acp = {
      ["antigravity"] = function()
        local helpers = require("codecompanion.adapters.acp.helpers")
        return {
          name = "antigravity",
          formatted_name = "Antigravity",
          type = "acp",
          roles = { llm = "assistant", user = "user" },
          opts = { vision = true },
          commands = {
            default = { "/home/YOU/.local/bin/acp-agent" },
          },
          defaults = { mcpServers = {}, timeout = 20000 },
          parameters = {
            protocolVersion = 1,
            clientCapabilities = { fs = { readTextFile = true, writeTextFile = true } },
            clientInfo = { name = "CodeCompanion.nvim", version = "1.0.0" },
          },
          handlers = {
            setup = function(self) return true end,
            -- `acp-agent login` keeps the key; there is nothing to do here.
            auth = function(self) return true end,
            form_messages = function(self, messages, capabilities)
              return helpers.form_messages(self, messages, capabilities)
            end,
            on_exit = function(self, code) end,
          },
        }
      end,
    },
  },
})
