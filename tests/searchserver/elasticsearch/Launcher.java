import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.Build;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.ClusterStateUpdateTask;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.regex.Regex;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.http.AbstractHttpServerTransport;
import org.elasticsearch.http.HttpServerTransport;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler.Route;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;

/** Elasticsearch in this JVM, with the settings of CONFIG/elasticsearch.yml; ends when standard input does. */
class Launcher {
    public static void main(String[] arguments) throws InterruptedException {
        Lifeline.hold(() -> start(Path.of(arguments[0])));
    }

    private static int start(Path config) throws Exception {
        LogConfigurator.registerErrorListener();
        LogConfigurator.configureESLogging();
        var environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, Map.of(), config, () -> "pqaudit");
        var loader = PluginsLoader.createPluginsLoader(bundles(environment.modulesDir()), Set.of(), Map.of(), false);
        var node = new Node(environment, loader);
        var http = node.injector().getInstance(HttpServerTransport.class);
        var field = AbstractHttpServerTransport.class.getDeclaredField("dispatcher");
        field.setAccessible(true);
        var controller = (RestController) field.get(http);
        answerRoot(controller);
        deleteDataStreams(controller, node);
        Lifeline.closeAtEnd(node);
        node.start();
        return http.boundAddress().publishAddress().getPort();
    }

    /** Called by name: 9.x wants one argument more than 8.x, and this source serves both. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> bundles(Path modules) throws ReflectiveOperationException {
        for (Method each : PluginsLoader.class.getMethods()) {
            if (each.getName().equals("loadModulesBundles")) {
                boolean old = each.getParameterCount() == 1;
                return (Set<PluginBundle>) (old ? each.invoke(null, modules) : each.invoke(null, modules, false));
            }
        }
        throw new NoSuchMethodException("PluginsLoader.loadModulesBundles");
    }

    /** The module that answers GET / is not published: this answer is ours. */
    private static void answerRoot(RestController controller) {
        var body = """
            {"name": "pqaudit", "cluster_name": "pqaudit", "version": {"number": "%s"}, \
            "tagline": "You Know, for Search"}""".formatted(Build.current().version());
        for (var method : List.of(RestRequest.Method.GET, RestRequest.Method.HEAD)) {
            controller.registerHandler(new Route(method, "/"), (request, channel, client) ->
                channel.sendResponse(json(RestStatus.OK, body)));
        }
    }

    /**
     * The server deletes data streams, but the requests for it are in a module that is not published. Tests need them gone
     * between each other; the path is none of Elasticsearch's, so that no test takes it for that.
     */
    private static void deleteDataStreams(RestController controller, Node node) {
        var cluster = node.injector().getInstance(ClusterService.class);
        controller.registerHandler(new Route(RestRequest.Method.DELETE, "/_test/data_stream/{pattern}"), (request, channel, client) -> {
            var pattern = request.param("pattern");
            cluster.submitUnbatchedStateUpdateTask("delete data streams " + pattern, new ClusterStateUpdateTask() {
                @Override
                public ClusterState execute(ClusterState state) throws Exception {
                    return withoutDataStreams(state, pattern, node.settings());
                }

                @Override
                public void clusterStateProcessed(ClusterState before, ClusterState after) {
                    channel.sendResponse(json(RestStatus.OK, "{\"acknowledged\": true}"));
                }

                @Override
                public void onFailure(Exception e) {
                    e.printStackTrace();
                    channel.sendResponse(json(RestStatus.INTERNAL_SERVER_ERROR, "{\"status\": 500}"));
                }
            });
        });
    }

    /** By name again: what 8.x keeps in the cluster's state, 9.x keeps in that of a project. */
    private static ClusterState withoutDataStreams(ClusterState state, String pattern, Settings settings) throws Exception {
        Object scope = state;
        for (Method each : ClusterState.class.getMethods()) {
            if (each.getName().equals("projectState") && each.getParameterCount() == 1) {
                scope = each.invoke(state, each.getParameterTypes()[0].getField("DEFAULT").get(null));
            }
        }
        Object metadata = scope.getClass().getMethod("metadata").invoke(scope);
        var all = (Map<?, ?>) metadata.getClass().getMethod("dataStreams").invoke(metadata);
        var chosen = new HashSet<Object>();
        all.forEach((name, stream) -> {
            if (Regex.simpleMatch(pattern, (String) name)) {
                chosen.add(stream);
            }
        });
        return (ClusterState) MetadataDataStreamsService.class
            .getMethod("deleteDataStreams", scope.getClass(), Set.class, Settings.class).invoke(null, scope, chosen, settings);
    }

    private static RestResponse json(RestStatus status, String body) {
        return new RestResponse(status, "application/json", body);
    }
}
