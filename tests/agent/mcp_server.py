"""A real MCP server over stdio with one tool, which says whether its environment arrived."""

import os

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def temperature(town: str) -> str:
    """The temperature in a town."""
    return f"{town}: 21 degrees, key {'present' if os.environ.get('WEATHER_KEY') else 'absent'}"


if __name__ == "__main__":
    server.run()
