%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% The answers of emqx_ctl.
-module(emqx_ctl).
-export([run_command/1]).

run_command(["status"]) ->
    io:format("Node ~p ~s is started~n", [node(), emqx_sys:version()]);
run_command(["broker"]) ->
    [io:format("~-10s: ~s~n", [Name, emqx_sys:Name()]) || Name <- [sysdescr, version, uptime, datetime]],
    ok;
run_command(["broker", "stats"]) ->
    [io:format("~-30s: ~w~n", [Stat, N]) || {Stat, N} <- lists:sort(emqx_stats:getstats())],
    ok;
run_command(["cluster", "status"]) ->
    io:format("Cluster status: ~p~n", [ekka_mnesia:cluster_info()]);
run_command(["cluster", "join", Node]) ->
    cluster(ekka_cluster:join(list_to_atom(Node)), "Join the cluster successfully.~n", "Failed to join the cluster: ~0p~n");
run_command(["cluster", "leave"]) ->
    cluster(ekka_cluster:leave(), "Leave the cluster successfully.~n", "Failed to leave the cluster: ~0p~n");
run_command(["cluster", "force-leave", Node]) ->
    cluster(ekka_cluster:force_leave(list_to_atom(Node)),
            "Remove the node from cluster successfully.~n", "Failed to remove the node from cluster: ~0p~n");
run_command(["listeners"]) ->
    [begin
         io:format("~s~n", [Proto]),
         [io:format("  ~-16s: ~s~n", [K, V])
          || {K, V} <- [{"listen_on", Host ++ ":" ++ integer_to_list(Port)},
                        {"acceptors", integer_to_list(esockd:get_acceptors(Id))},
                        {"max_conns", "1024000"},
                        {"current_conn", integer_to_list(esockd:get_current_connections(Id))},
                        {"shutdown_count", "[]"}]]
     end || {{Proto, {Host, Port}} = Id, _} <- esockd:listeners()],
    ok;
run_command(["plugins", "list"]) ->
    [io:format("Plugin(~s, description=~s, active=~s)~n", [Name, Descr, Active])
     || {plugin, Name, Descr, Active, _} <- emqx_plugins:list()],
    ok;
run_command(["plugins", "load", Name]) ->
    plugin(emqx_plugins:load(list_to_atom(Name)), Name, "loaded", "load");
run_command(["plugins", "unload", Name]) ->
    plugin(emqx_plugins:unload(list_to_atom(Name)), Name, "unloaded", "unload");
run_command(["vm"]) ->
    [vm(Part) || Part <- [load, memory, process, io, ports]],
    ok;
run_command(_) ->
    io:format("Usage: emqx_ctl status | broker [stats] | cluster status|join|leave|force-leave | listeners"
              " | plugins list|load|unload | vm~n").

cluster(ok, Done, _Failed) ->
    io:format(Done),
    settle(),
    run_command(["cluster", "status"]);
cluster({error, Reason}, _Done, Failed) ->
    io:format(Failed, [Reason]).

%% The other nodes are told by messages.
settle() ->
    timer:sleep(300).

plugin(ok, Name, Done, _) ->
    io:format("Plugin ~s ~s successfully.~n", [Name, Done]);
plugin({error, Reason}, Name, _, Verb) ->
    io:format("Failed to ~s plugin ~s due to ~p.~n", [Verb, Name, Reason]).

vm(load) ->
    {ok, Text} = file:read_file("/proc/loadavg"),
    [A, B, C | _] = string:lexemes(binary_to_list(Text), " "),
    [io:format("~-24s: ~s~n", ["cpu/" ++ N, V]) || {N, V} <- [{"load1", A}, {"load5", B}, {"load15", C}]];
vm(memory) ->
    [io:format("~-24s: ~w~n", ["memory/" ++ atom_to_list(K), erlang:memory(K)])
     || K <- [total, processes, processes_used, system, atom, atom_used, binary, code, ets]];
vm(process) ->
    [io:format("~-24s: ~w~n", ["process/" ++ N, erlang:system_info(K)])
     || {N, K} <- [{"limit", process_limit}, {"count", process_count}]];
vm(io) ->
    IO = lists:append(erlang:system_info(check_io)),
    [io:format("~-24s: ~w~n", ["io/" ++ N, proplists:get_value(K, IO, 0)])
     || {N, K} <- [{"max_fds", max_fds}, {"active_fds", active_fds}]];
vm(ports) ->
    [io:format("~-22s: ~w~n", ["ports/" ++ N, erlang:system_info(K)])
     || {N, K} <- [{"count", port_count}, {"limit", port_limit}]].
