%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Who belongs to the cluster and who is up, under the names that a caller of EMQX 4.4 knows.
-module(ekka_mnesia).
-export([running_nodes/0, cluster_nodes/1, cluster_info/0, is_node_in_cluster/1]).

running_nodes() ->
    Connected = [node() | nodes()],
    [N || N <- ekka_cluster:members(), lists:member(N, Connected)].

cluster_nodes(all) ->
    ekka_cluster:members();
cluster_nodes(running) ->
    running_nodes();
cluster_nodes(stopped) ->
    ekka_cluster:members() -- running_nodes().

cluster_info() ->
    Running = running_nodes(),
    #{running_nodes => Running, stopped_nodes => ekka_cluster:members() -- Running}.

is_node_in_cluster(Node) ->
    lists:member(Node, ekka_cluster:members()).
