(with-eval-after-load 'agent-shell
  (add-to-list
   'agent-shell-agent-configs
   (agent-shell-make-agent-config
    :identifier (intern "antigravity")
    :mode-line-name "Antigravity"
    :buffer-name "Antigravity"
    :shell-prompt "Antigravity> "
    :shell-prompt-regexp "Antigravity> "
    :client-maker (lambda (buffer)
                    (agent-shell--make-acp-client
                     :command "/home/YOU/.local/bin/acp-agent"
                     :command-params '()
                     :environment-variables (agent-shell-make-environment-variables :inherit-env t)
                     :context-buffer buffer))
    :install-instructions "Run acp-agent login in a terminal to keep an API key.")))
